//! Damages pipelines part by part: what a wrong SDK, a wrong tool or a liar would submit.
//!
//! ```text
//!   components ─► remove, copy, rename, exchange, point elsewhere │ payloads ─► fields or bytes │ nest, chain, repeat
//! ```

use std::collections::BTreeMap;

use crate::chance::Chance;
use prost::Message;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::{standard_coders, standard_ptransforms, standard_requirements};

use crate::mutate_bytes::mutate_bytes;

/// What a transform may call itself.
const TRANSFORMS: [&str; 14] = [
    standard_ptransforms::primitives::PAR_DO,
    standard_ptransforms::primitives::FLATTEN,
    standard_ptransforms::primitives::GROUP_BY_KEY,
    standard_ptransforms::primitives::IMPULSE,
    standard_ptransforms::primitives::ASSIGN_WINDOWS,
    standard_ptransforms::primitives::TEST_STREAM,
    standard_ptransforms::primitives::MAP_WINDOWS,
    standard_ptransforms::deprecated_primitives::READ,
    standard_ptransforms::composites::COMBINE_PER_KEY,
    standard_ptransforms::composites::RESHUFFLE,
    standard_ptransforms::combine_components::COMBINE_PER_KEY_PRECOMBINE,
    standard_ptransforms::splittable_par_do_components::PROCESS_SIZED_ELEMENTS_AND_RESTRICTIONS,
    "beam:dofn:identity:0.1",
    "",
];

/// What a coder may call itself.
const CODERS: [&str; 16] = [
    standard_coders::BYTES,
    standard_coders::STRING_UTF8,
    standard_coders::KV,
    standard_coders::BOOL,
    standard_coders::VARINT,
    standard_coders::DOUBLE,
    standard_coders::ITERABLE,
    standard_coders::TIMER,
    standard_coders::INTERVAL_WINDOW,
    standard_coders::LENGTH_PREFIX,
    standard_coders::GLOBAL_WINDOW,
    standard_coders::PARAM_WINDOWED_VALUE,
    standard_coders::STATE_BACKED_ITERABLE,
    standard_coders::CUSTOM_WINDOW,
    standard_coders::ROW,
    standard_coders::NULLABLE,
];

/// What a window function may call itself.
const WINDOW_FNS: [&str; 5] = [
    "beam:window_fn:global_windows:v1",
    "beam:window_fn:fixed_windows:v1",
    "beam:window_fn:sliding_windows:v1",
    "beam:window_fn:session_windows:v1",
    "mine",
];

/// Changes `pipeline` in one to four places.
pub fn mutate_pipeline(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    for _ in 0..=random.below(4) {
        match random.below(16) {
            0 => whole(pipeline, random),
            1..=6 => transforms(pipeline, random),
            7 | 8 => pcollections(pipeline, random),
            9..=11 => coders(pipeline, random),
            12 | 13 => strategies(pipeline, random),
            14 => environments(pipeline, random),
            _ => roots(pipeline, random),
        }
    }
}

/// Damages the serialized form; what cannot be read any more is left as it was.
fn whole(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let mut bytes = pipeline.encode_to_vec();
    mutate_bytes(&mut bytes, random);
    if let Ok(read) = pb::Pipeline::decode(&bytes[..]) {
        *pipeline = read;
    }
}

fn roots(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let known: Vec<String> = components(pipeline).transforms.keys().cloned().collect();
    let roots = &mut pipeline.root_transform_ids;
    match random.below(5) {
        0 => roots.clear(),
        1 => drop(roots.pop()),
        2 => roots.reverse(),
        3 => pipeline.requirements.push(match random.below(3) {
            0 => "beam:requirement:new:v1".to_owned(),
            1 => standard_requirements::REQUIRES_STABLE_INPUT.to_owned(),
            _ => standard_requirements::REQUIRES_SPLITTABLE_DOFN.to_owned(),
        }),
        _ => roots.push(some_id(&known, random)),
    }
}

fn transforms(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let all = components(pipeline);
    let known: Vec<String> = all.transforms.keys().cloned().collect();
    let pcollections: Vec<String> = all.pcollections.keys().cloned().collect();
    let coders: Vec<String> = all.coders.keys().cloned().collect();
    let environments: Vec<String> = all.environments.keys().cloned().collect();
    let Some(id) = random.pick(&known).cloned() else { return };
    match random.below(12) {
        0 => return shuffle_map(&mut all.transforms, &id, random),
        1 => return nest(pipeline, &id, random),
        _ => {}
    }
    let Some(transform) = all.transforms.get_mut(&id) else { return };
    match random.below(12) {
        0 => transform.unique_name = name(random),
        1 => transform.spec = None,
        2 => spec(transform).urn = TRANSFORMS[random.below(14) as usize].to_owned(),
        3 => mutate_payload(spec(transform), random),
        4 => drop(transform.inputs.insert(name(random), some_id(&pcollections, random))),
        5 => drop(transform.inputs.pop_first()),
        6 => drop(transform.outputs.insert(name(random), some_id(&pcollections, random))),
        7 => drop(transform.outputs.pop_first()),
        8 => transform.environment_id = some_id(&environments, random),
        9 => transform.subtransforms.push(some_id(&known, random)),
        10 => transform.inputs.values_mut().for_each(|input| *input = some_id(&pcollections, random)),
        _ => par_do(spec(transform), &coders, &pcollections, random),
    }
}

fn spec(transform: &mut pb::PTransform) -> &mut pb::FunctionSpec {
    transform.spec.get_or_insert_default()
}

fn par_do(spec: &mut pb::FunctionSpec, coders: &[String], pcollections: &[String], random: &mut Chance) {
    use pb::state_spec::Spec;
    let mut payload = pb::ParDoPayload::decode(&spec.payload[..]).unwrap_or_default();
    let coder = some_id(coders, random);
    match random.below(9) {
        0 => payload.restriction_coder_id = coder,
        1 => payload.requests_finalization ^= true,
        2 => payload.requires_stable_input ^= true,
        3 => payload.requires_time_sorted_input ^= true,
        4 => {
            let state = match random.below(5) {
                0 => None,
                1 => Some(Spec::BagSpec(pb::BagStateSpec { element_coder_id: coder })),
                2 => {
                    Some(Spec::CombiningSpec(pb::CombiningStateSpec { accumulator_coder_id: coder, combine_fn: None }))
                }
                3 => Some(Spec::SetSpec(pb::SetStateSpec { element_coder_id: coder })),
                _ => {
                    let value_coder_id = some_id(coders, random);
                    Some(Spec::MapSpec(pb::MapStateSpec { key_coder_id: coder, value_coder_id }))
                }
            };
            payload.state_specs.insert(name(random), pb::StateSpec { spec: state, protocol: None });
        }
        5 => {
            let family = pb::TimerFamilySpec { time_domain: random.below(5) as i32, timer_family_coder_id: coder };
            payload.timer_family_specs.insert(name(random), family);
        }
        6 => {
            let access = ["beam:side_input:iterable:v1", "beam:side_input:multimap:v1", "", "mine"];
            let urn = access[random.below(4) as usize].to_owned();
            let pattern = Some(pb::FunctionSpec { urn, ..pb::FunctionSpec::default() });
            let side = pb::SideInput { access_pattern: pattern, ..pb::SideInput::default() };
            payload.side_inputs.insert(some_id(pcollections, random), side);
        }
        7 => payload.on_window_expiration_timer_family_spec = name(random),
        _ => payload.side_inputs.clear(),
    }
    spec.payload = payload.encode_to_vec().into();
}

/// Puts a transform into composites in composites, or repeats it in a chain of copies.
fn nest(pipeline: &mut pb::Pipeline, id: &str, random: &mut Chance) {
    let deepest = if random.percent(5) { 400 } else { 8 };
    let depth = 1 + random.below(deepest);
    let mut inner = id.to_owned();
    pipeline.root_transform_ids.retain(|root| root != id);
    let all = components(pipeline);
    for level in 0..depth {
        let outer = format!("{id} nested {level}");
        let composite =
            pb::PTransform { unique_name: outer.clone(), subtransforms: vec![inner], ..pb::PTransform::default() };
        all.transforms.insert(outer.clone(), composite);
        inner = outer;
    }
    pipeline.root_transform_ids.push(inner);
}

fn pcollections(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let all = components(pipeline);
    let known: Vec<String> = all.pcollections.keys().cloned().collect();
    let coders: Vec<String> = all.coders.keys().cloned().collect();
    let strategies: Vec<String> = all.windowing_strategies.keys().cloned().collect();
    let Some(id) = random.pick(&known).cloned() else { return };
    if random.percent(20) {
        return shuffle_map(&mut all.pcollections, &id, random);
    }
    let Some(pcollection) = all.pcollections.get_mut(&id) else { return };
    match random.below(4) {
        0 | 1 => pcollection.coder_id = some_id(&coders, random),
        2 => pcollection.windowing_strategy_id = some_id(&strategies, random),
        _ => pcollection.is_bounded = random.below(4) as i32,
    }
}

fn coders(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let all = components(pipeline);
    let known: Vec<String> = all.coders.keys().cloned().collect();
    let Some(id) = random.pick(&known).cloned() else { return };
    match random.below(8) {
        0 => return shuffle_map(&mut all.coders, &id, random),
        1 => return deepen(&mut all.coders, &id, random),
        _ => {}
    }
    let Some(coder) = all.coders.get_mut(&id) else { return };
    match random.below(6) {
        0 => coder.spec.get_or_insert_default().urn = CODERS[random.below(16) as usize].to_owned(),
        1 => coder.component_coder_ids.push(some_id(&known, random)),
        2 => drop(coder.component_coder_ids.pop()),
        3 => mutate_payload(coder.spec.get_or_insert_default(), random),
        4 => coder.component_coder_ids.iter_mut().for_each(|part| *part = some_id(&known, random)),
        _ => coder.spec = None,
    }
}

/// Wraps a coder again and again: in a chain, or so that it doubles each time.
fn deepen(coders: &mut BTreeMap<String, pb::Coder>, id: &str, random: &mut Chance) {
    let doubles = random.percent(50);
    let most = if random.percent(10) { 150 } else { 8 };
    let times = 1 + random.below(most);
    let Some(mut innermost) = coders.get(id).cloned() else { return };
    let mut inner = format!("{id} inside");
    innermost.component_coder_ids.retain(|part| part != id);
    coders.insert(inner.clone(), innermost);
    for level in 0..times {
        let (urn, parts) = if doubles {
            (standard_coders::KV, vec![inner.clone(), inner])
        } else {
            (CODERS[[6, 9, 15][random.below(3) as usize]], vec![inner])
        };
        let spec = Some(pb::FunctionSpec { urn: urn.to_owned(), ..pb::FunctionSpec::default() });
        inner = if level + 1 == times { id.to_owned() } else { format!("{id} wrapped {level}") };
        coders.insert(inner.clone(), pb::Coder { spec, component_coder_ids: parts });
    }
}

fn strategies(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let all = components(pipeline);
    let known: Vec<String> = all.windowing_strategies.keys().cloned().collect();
    let coders: Vec<String> = all.coders.keys().cloned().collect();
    let environments: Vec<String> = all.environments.keys().cloned().collect();
    let Some(id) = random.pick(&known).cloned() else { return };
    if random.percent(15) {
        return shuffle_map(&mut all.windowing_strategies, &id, random);
    }
    let Some(strategy) = all.windowing_strategies.get_mut(&id) else { return };
    match random.below(11) {
        0 => {
            let window_fn = strategy.window_fn.get_or_insert_default();
            window_fn.urn = WINDOW_FNS[random.below(5) as usize].to_owned();
        }
        1 => mutate_payload(strategy.window_fn.get_or_insert_default(), random),
        2 => strategy.merge_status = random.below(5) as i32,
        3 => strategy.window_coder_id = some_id(&coders, random),
        4 => strategy.accumulation_mode = random.below(5) as i32,
        5 => strategy.output_time = random.below(5) as i32,
        6 => strategy.closing_behavior = random.below(4) as i32,
        7 => strategy.on_time_behavior = random.below(4) as i32,
        8 => strategy.allowed_lateness = random.number() as i64 >> random.below(64),
        9 => strategy.environment_id = some_id(&environments, random),
        _ => strategy.trigger = trigger(random, 0),
    }
}

fn trigger(random: &mut Chance, depth: u64) -> Option<pb::Trigger> {
    use pb::trigger::{
        AfterAll, AfterAny, AfterEach, AfterEndOfWindow, AfterProcessingTime, Default, ElementCount, Never, OrFinally,
        Repeat, Trigger,
    };
    let limit = if random.percent(2) { 40 } else { 4 };
    let inner = |random: &mut Chance| trigger(random, depth + 1).map(Box::new);
    let several = |random: &mut Chance| (0..random.below(3)).filter_map(|_| trigger(random, depth + 1)).collect();
    let kind = match random.below(if depth > limit { 5 } else { 12 }) {
        0 => return None,
        1 => None,
        2 => Some(Trigger::Default(Default {})),
        3 => Some(Trigger::Never(Never {})),
        4 => Some(Trigger::ElementCount(ElementCount { element_count: random.number() as i32 >> random.below(32) })),
        5 => Some(Trigger::Repeat(Box::new(Repeat { subtrigger: inner(random) }))),
        6 => Some(Trigger::AfterAll(AfterAll { subtriggers: several(random) })),
        7 => Some(Trigger::AfterAny(AfterAny { subtriggers: several(random) })),
        8 => Some(Trigger::AfterEach(AfterEach { subtriggers: several(random) })),
        9 => {
            let (early_firings, late_firings) = (inner(random), inner(random));
            Some(Trigger::AfterEndOfWindow(Box::new(AfterEndOfWindow { early_firings, late_firings })))
        }
        10 => Some(Trigger::OrFinally(Box::new(OrFinally { main: inner(random), finally: inner(random) }))),
        _ => {
            use pb::timestamp_transform::{AlignTo, Delay, TimestampTransform as Kind};
            let millis = random.number() as i64 >> random.below(64);
            let kind = match random.below(3) {
                0 => None,
                1 => Some(Kind::Delay(Delay { delay_millis: millis })),
                _ => Some(Kind::AlignTo(AlignTo { period: millis, offset: random.number() as i64 })),
            };
            let timestamp_transforms = vec![pb::TimestampTransform { timestamp_transform: kind }];
            Some(Trigger::AfterProcessingTime(AfterProcessingTime { timestamp_transforms }))
        }
    };
    Some(pb::Trigger { trigger: kind })
}

fn environments(pipeline: &mut pb::Pipeline, random: &mut Chance) {
    let all = components(pipeline);
    let known: Vec<String> = all.environments.keys().cloned().collect();
    let Some(id) = random.pick(&known).cloned() else { return };
    if random.percent(30) {
        return shuffle_map(&mut all.environments, &id, random);
    }
    let Some(environment) = all.environments.get_mut(&id) else { return };
    match random.below(4) {
        0 => {
            let kinds = ["beam:env:docker:v1", "beam:env:anyof:v1", "beam:env:embedded_python:v1", "EMBEDDED", ""];
            environment.urn = kinds[random.below(5) as usize].to_owned();
        }
        1 => environment.capabilities.clear(),
        2 => environment.capabilities.push(TRANSFORMS[random.below(14) as usize].to_owned()),
        _ => {
            let mut payload = environment.payload.to_vec();
            mutate_bytes(&mut payload, random);
            environment.payload = payload.into();
        }
    }
}

fn mutate_payload(spec: &mut pb::FunctionSpec, random: &mut Chance) {
    let mut payload = spec.payload.to_vec();
    mutate_bytes(&mut payload, random);
    spec.payload = payload.into();
}

/// Removes, copies, renames an entry, or exchanges its content with another's.
fn shuffle_map<T: Clone>(map: &mut BTreeMap<String, T>, id: &str, random: &mut Chance) {
    match random.below(4) {
        0 => drop(map.remove(id)),
        1 => {
            if let Some(value) = map.get(id).cloned() {
                map.insert(name(random), value);
            }
        }
        2 => {
            if let Some(value) = map.remove(id) {
                map.insert(name(random), value);
            }
        }
        _ => {
            let other = random.pick(&map.keys().cloned().collect::<Vec<_>>()).cloned().unwrap_or_default();
            if let (Some(mine), Some(theirs)) = (map.get(id).cloned(), map.get(&other).cloned()) {
                map.insert(id.to_owned(), theirs);
                map.insert(other, mine);
            }
        }
    }
}

fn components(pipeline: &mut pb::Pipeline) -> &mut pb::Components {
    pipeline.components.get_or_insert_default()
}

/// Mostly one of these ids.
fn some_id(known: &[String], random: &mut Chance) -> String {
    if random.percent(10) {
        return name(random);
    }
    random.pick(known).cloned().unwrap_or_default()
}

/// A name that nobody should choose.
fn name(random: &mut Chance) -> String {
    match random.below(9) {
        0 => String::new(),
        1 => "purlin:source".to_owned(),
        2 => "a\n\u{1b}[31mb".to_owned(),
        3 => "ü".repeat(random.below(300) as usize),
        4 => "x".repeat(random.below(20_000) as usize),
        5 => "purlin:kv(bytes,bytes)".to_owned(),
        6 => "start".to_owned(),
        _ => format!("id{}", random.below(20)),
    }
}
