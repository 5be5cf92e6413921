//! What is said of pipelines that are none: each kind of problem, with its place and what to do about it.

use insta::assert_snapshot;
use purlin_model::time::Millis;
use purlin_model::window::WindowFn;
use purlin_proto::pipeline::v1 as pb;

use crate::testing::TestPipeline;

/// A sound pipeline, of which each test breaks something.
fn sound() -> TestPipeline {
    TestPipeline::new()
        .collection("pairs", "kv<string_utf8, any>")
        .collection("groups", "kv<string_utf8, iterable<any>>")
        .impulse("start")
        .par_do("Read", "start", &["words"])
        .par_do("Pair", "words", &["pairs"])
        .group("Group", "pairs", "groups")
}

/// The same with something done to the components.
fn broken(change: impl FnOnce(&mut pb::Components)) -> String {
    sound().change(change).problems()
}

fn transform<'a>(components: &'a mut pb::Components, id: &str) -> &'a mut pb::PTransform {
    components.transforms.get_mut(id).unwrap()
}

fn pcollection<'a>(components: &'a mut pb::Components, id: &str) -> &'a mut pb::PCollection {
    components.pcollections.get_mut(id).unwrap()
}

#[test]
fn what_is_sound_has_no_problems() {
    assert_eq!(sound().problems(), "");
}

#[test]
fn a_pipeline_of_nothing() {
    assert!(crate::validate(pb::Pipeline::default()).is_ok());
    let mut rootless = sound().proto();
    rootless.root_transform_ids.clear();
    assert_snapshot!(crate::validate(rootless).unwrap_err(), @"pipeline: has transforms but names no roots; name its outermost ones in root_transform_ids");
}

#[test]
fn transforms_that_do_not_exist() {
    let root = broken(|components| drop(components.transforms.remove("group")));
    assert_snapshot!(root, @"root_transform_ids: names transform `group`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
    let sub = sound()
        .transform("All", "test:composite", &["groups"], &["done"])
        .edit(|transform| transform.subtransforms = vec!["gone".to_owned()])
        .par_do("Behind", "done", &["last"]);
    assert_snapshot!(sub.problems(), @"All: names transform `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
}

#[test]
fn pcollections_that_do_not_exist() {
    let input =
        broken(|components| drop(transform(components, "pair").inputs.insert("0".to_owned(), "gone".to_owned())));
    assert_snapshot!(input, @"Pair: names PCollection `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
    let output = broken(|components| drop(components.pcollections.remove("words")));
    assert_snapshot!(output, @"
    Pair: names PCollection `words`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    Read: names PCollection `words`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    ");
}

#[test]
fn pcollections_that_nobody_emits() {
    let nobody = TestPipeline::new().par_do("Read", "start", &["words"]).sides(&[("start", "iterable")]);
    assert_snapshot!(nobody.problems(), @"Read: reads PCollection `start`, which no transform emits; submit the pipeline as the SDK wrote it, with all its components");
}

#[test]
fn pcollections_that_two_emit() {
    let two = sound().par_do("Again", "start", &["words"]);
    assert_snapshot!(two.problems(), @"Again: emits PCollection `words`, which `Read` emits too; give each its own; a Flatten joins them");
}

#[test]
fn coders_that_do_not_exist() {
    assert_snapshot!(broken(|components| pcollection(components, "words").coder_id = "gone".to_owned()), @"PCollection `words`: names coder `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
    assert_snapshot!(broken(|components| drop(components.coders.remove("any"))), @r#"
    coders: coders["iterable<any>"].component_coder_ids[0] names the coder "any", which the pipeline does not hold; submit the pipeline as the SDK wrote it, with all its components
    coders: coders["kv<string_utf8, any>"].component_coder_ids[1] names the coder "any", which the pipeline does not hold; submit the pipeline as the SDK wrote it, with all its components
    "#);
    assert_snapshot!(broken(|components| drop(components.coders.remove("global_window"))), @"windowing strategy `global`: names coder `global_window`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
}

#[test]
fn coders_that_payloads_name_and_that_do_not_exist() {
    let gone = || "gone".to_owned();
    let mut state = pb::StateSpec::default();
    let map = pb::MapStateSpec { key_coder_id: gone(), value_coder_id: "any".to_owned() };
    state.spec = Some(pb::state_spec::Spec::MapSpec(map));
    let par_dos = sound()
        .par_do("Remember", "pairs", &["remembered"])
        .timers()
        .payload(|payload| {
            payload.state_specs.insert("map".to_owned(), state);
            payload.timer_family_specs.get_mut("timers").unwrap().timer_family_coder_id = gone();
        })
        .par_do("Files", "words", &["lines"])
        .payload(|payload| payload.restriction_coder_id = gone());
    assert_snapshot!(par_dos.problems(), @"
    Files: names coder `gone` of its restrictions, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    Remember: names coder `gone` of its state `map`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    Remember: names coder `gone` of its timers `timers`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    ");
    let combiner = sound()
        .collection("sums", "kv<string_utf8, any>")
        .collection("lists", "kv<string_utf8, iterable<any>>")
        .combine("Sum", "pairs", "lists", "sums", "partial")
        .change(|components| drop(components.coders.remove("partial")));
    assert_snapshot!(combiner.problems(), @"Sum: names coder `partial` of its accumulators, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
}

#[test]
fn coders_that_are_none() {
    let faulty = broken(|components| {
        components.coders.get_mut("kv<string_utf8, any>").unwrap().component_coder_ids.pop();
        components.coders.insert("nothing".to_owned(), pb::Coder::default());
        let circle = components.coders["iterable<any>"].clone();
        let circle = pb::Coder { component_coder_ids: vec!["circle".to_owned()], ..circle };
        components.coders.insert("circle".to_owned(), circle);
    });
    assert_snapshot!(faulty, @r#"
    coders: coders["circle"].component_coder_ids[0] contains itself: circle -> circle; submit the pipeline as the SDK wrote it, with all its components
    coders: coders["kv<string_utf8, any>"] is not a valid Coder: beam:coder:kv:v1 takes 2 component coders and has 1; submit the pipeline as the SDK wrote it, with all its components
    coders: coders["nothing"].spec.urn is not set; send the URN of a coder
    "#);
}

#[test]
fn coders_that_are_too_deep() {
    let deep = (0..150).fold("any".to_owned(), |coder, _| format!("iterable<{coder}>"));
    let problems = TestPipeline::new().collection("start", &deep).impulse("start").problems();
    assert!(problems.contains("is not a valid Coder: coders are nested deeper than 100 levels"), "{problems}");
    assert_eq!(problems.lines().count(), 1, "what contains it is not reported again");
}

#[test]
fn windowing_strategies_that_do_not_exist() {
    let gone = broken(|components| pcollection(components, "words").windowing_strategy_id = "gone".to_owned());
    assert_snapshot!(gone, @"PCollection `words`: names windowing strategy `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components");
}

#[test]
fn windowing_strategies_that_are_none() {
    let faulty = broken(|components| {
        let strategy = components.windowing_strategies.get_mut("fixed").unwrap();
        strategy.trigger = None;
        strategy.window_fn = None;
        strategy.environment_id = "gone".to_owned();
        strategy.window_coder_id = "gone".to_owned();
        strategy.accumulation_mode = pb::accumulation_mode::Enum::Retracting.into();
    });
    assert_snapshot!(faulty, @r#"
    windowing strategy `fixed`: names coder `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    windowing strategy `fixed`: names environment `gone`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    windowing strategy `fixed`: windowing_strategies["fixed"].accumulation_mode is RETRACTING, which is not supported; use DISCARDING, ACCUMULATING
    windowing strategy `fixed`: windowing_strategies["fixed"].trigger is not set; send a trigger
    windowing strategy `fixed`: windowing_strategies["fixed"].window_fn is not set; send a window function
    "#);
}

#[test]
fn a_windowing_that_cannot_be_is_found_by_who_emits_in_it() {
    let late = broken(|components| {
        components.windowing_strategies.get_mut("global").unwrap().allowed_lateness = -5;
    });
    let says = "windowing_strategies[\"global\"].allowed_lateness is -5 ms; it must be zero or more (in what `";
    assert!(late.contains(says), "{late}");
}

#[test]
fn environments_that_do_not_exist() {
    assert_snapshot!(broken(|components| drop(components.environments.remove("py"))), @"
    Pair: names environment `py`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    Read: names environment `py`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    ");
    assert_snapshot!(broken(|components| transform(components, "read").environment_id.clear()), @"Read: is executed by an SDK, but names no environment; set `environment_id` in its PTransform");
}

#[test]
fn environments_that_nobody_can_start() {
    let kind = |urn: &str| {
        let urn = urn.to_owned();
        broken(|components| components.environments.get_mut("py").unwrap().urn = urn)
    };
    assert_snapshot!(kind("beam:env:embedded_python:v1"), @"environment `py`: is of kind `beam:env:embedded_python:v1`, which lives inside the SDK's own runners; submit with --environment_type=LOOPBACK");
    assert_snapshot!(kind("EMBEDDED"), @"environment `py`: is of kind `EMBEDDED`, which lives inside the SDK's own runners; submit with --environment_type=LOOPBACK");
    assert_snapshot!(kind("beam:env:moon:v1"), @"environment `py`: is of kind `beam:env:moon:v1`, which Purlin does not know; use an EXTERNAL, PROCESS or DOCKER environment, or LOOPBACK");
    let unused = sound().environment("idle", &[]).change(|components| {
        components.environments.get_mut("idle").unwrap().urn.clear();
    });
    assert_eq!(unused.problems(), "", "nothing runs there");
    let windows = sound().environment("moon", &[]).change(|components| {
        components.environments.get_mut("moon").unwrap().urn = "beam:env:moon:v1".to_owned();
        components.windowing_strategies.get_mut("custom_merging").unwrap().environment_id = "moon".to_owned();
    });
    assert_snapshot!(windows.problems(), @"environment `moon`: is of kind `beam:env:moon:v1`, which Purlin does not know; use an EXTERNAL, PROCESS or DOCKER environment, or LOOPBACK");
}

#[test]
fn transforms_that_nobody_knows() {
    let unknown = || sound().transform("Teleport", "test:teleport", &["words"], &["there"]).in_env("py");
    // What it emits is of no further interest, so that `Look` has no problem of its own.
    assert_snapshot!(unknown().par_do("Look", "there", &["looked"]).problems(), @"Teleport: is a transform of kind `test:teleport`, which neither Purlin nor its environment knows; replace it by transforms that Beam defines, or choose a runner that knows it");
    let listed = unknown().change(|components| {
        components.environments.get_mut("py").unwrap().capabilities.push("test:teleport".to_owned());
    });
    assert_eq!(listed.problems(), "");
}

#[test]
fn transforms_that_do_not_say_what_they_do() {
    let without = || sound().transform("Something", "", &["words"], &["things"]);
    assert_snapshot!(without().problems(), @"Something: does not say what it does; give its `spec` a URN, or its sub-transforms");
    assert_snapshot!(without().edit(|transform| transform.spec = None).problems(), @"Something: does not say what it does; give its `spec` a URN, or its sub-transforms");
    assert_snapshot!(without().edit(|transform| transform.unique_name.clear()).problems(), @"something: does not say what it does; give its `spec` a URN, or its sub-transforms");
    let same = sound().transform("Same", "", &["words"], &["words"]);
    assert_eq!(same.problems(), "", "it hands its input on");
}

#[test]
fn requirements_that_nobody_knows() {
    let known = sound().requires("beam:requirement:pardo:stateful:v1");
    assert_eq!(known.problems(), "");
    assert_snapshot!(sound().requires("beam:requirement:pardo:telepathy:v1").problems(), @"pipeline: requires `beam:requirement:pardo:telepathy:v1`, which Purlin does not know; use an SDK of Beam 2.77 or earlier, or leave out what needs it");
}

#[test]
fn transforms_that_are_named_twice() {
    let twice = sound()
        .transform("All", "test:composite", &["words"], &["words"])
        .edit(|transform| transform.subtransforms = vec!["read".to_owned()]);
    assert_snapshot!(twice.problems(), @"Read: is named more than once, as a root or as a sub-transform; name each transform in one place");
    let itself = sound().transform("All", "test:composite", &["words"], &["words"]);
    let itself = itself.edit(|transform| transform.subtransforms = vec!["all".to_owned()]);
    assert_snapshot!(itself.problems(), @"All: is named more than once, as a root or as a sub-transform; name each transform in one place");
}

#[test]
fn transforms_that_are_too_deep() {
    let deep = (0..250).fold(sound().par_do("P0", "words", &["last"]), |pipeline, depth| {
        let outer = pipeline.transform(&format!("P{}", depth + 1), "test:composite", &["words"], &["last"]);
        outer.edit(|transform| transform.subtransforms.push(format!("p{depth}"))).not_root(&format!("p{depth}"))
    });
    assert_snapshot!(deep.par_do("Behind", "last", &["behind"]).problems(), @"P49: is nested deeper than 200 levels; nest fewer composites");
}

#[test]
fn ids_that_are_purlins_own() {
    let own = sound().par_do("purlin:source", "words", &["last"]);
    assert_snapshot!(own.problems(), @"purlin:source: has the id `purlin:source`, and ids that begin with `purlin:` are Purlin's own; choose another id");
}

#[test]
fn cycles() {
    let circle = sound()
        .flatten("Join", &["words", "back"], "joined")
        .par_do("Step", "joined", &["stepped"])
        .par_do("Back", "stepped", &["back"])
        .par_do("Itself", "own", &["own"])
        .par_do("Waits", "start", &["waited"])
        .sides(&[("made", "iterable")])
        .par_do("Makes", "waited", &["made"]);
    assert_snapshot!(circle.problems(), @"
    transforms: stand on a cycle: each consumes what comes of the others: `Itself`; break the cycle
    transforms: stand on a cycle: each consumes what comes of the others: `Join`, `Step`, `Back`; break the cycle
    transforms: stand on a cycle: each consumes what comes of the others: `Waits`, `Makes`; break the cycle
    ");
}

#[test]
fn inputs_and_outputs_that_are_too_many_or_too_few() {
    let outputs = |pipeline: TestPipeline, ids: &[&str]| {
        let outputs = ids.iter().enumerate().map(|(port, id)| (port.to_string(), (*id).to_owned())).collect();
        pipeline.edit(|transform| transform.outputs = outputs)
    };
    let arity = sound()
        .transform("No input", "beam:transform:pardo:v1", &[], &["a"])
        .in_env("py")
        .transform("Two inputs", "beam:transform:pardo:v1", &["words", "start"], &["b"])
        .in_env("py")
        .transform("Fed impulse", "beam:transform:impulse:v1", &["words"], &["c"])
        .transform("Wide group", "beam:transform:group_by_key:v1", &["pairs", "words"], &["d"])
        .transform("Wide shuffle", "beam:transform:reshuffle:v1", &["pairs", "words"], &["e"]);
    let arity = outputs(arity.impulse("f"), &["f", "start"]);
    let arity = outputs(arity.group("Group twice", "pairs", "groups"), &["groups", "pairs"]);
    let arity = outputs(arity.flatten("Flatten to nothing", &["words"], "g"), &[]);
    assert_snapshot!(arity.problems(), @"
    Fed impulse: has 1 main inputs; an impulse has no input
    Flatten to nothing: has 0 outputs; a transform of its kind has exactly one
    Group twice: has 2 outputs; a transform of its kind has exactly one
    Impulse f: has 2 outputs; a transform of its kind has exactly one
    No input: has 0 main inputs; it takes exactly one beside its side inputs
    Two inputs: has 2 main inputs; it takes exactly one beside its side inputs
    Wide group: has 2 main inputs; it takes exactly one beside its side inputs
    Wide shuffle: has 2 main inputs; it takes exactly one beside its side inputs
    ");
}

#[test]
fn payloads_that_cannot_be_read() {
    let unreadable = sound()
        .par_do("Torn", "words", &["torn"])
        .edit(|transform| transform.spec.as_mut().unwrap().payload = b"\xff\xff".as_slice().into())
        .par_do("Behind", "torn", &["behind"]);
    assert_snapshot!(unreadable.problems(), @"Torn: has a ParDoPayload that cannot be read: failed to decode Protobuf message: invalid varint; send the payload that Beam defines for a ParDo");
}

#[test]
fn side_inputs_that_are_no_inputs() {
    let undeclared = sound().par_do("Look", "words", &["looked"]).sides(&[("pairs", "iterable")]).edit(|transform| {
        transform.inputs.remove("side0");
    });
    assert_snapshot!(undeclared.problems(), @"Look: declares side input `side0`, which is none of its inputs; name the PCollection in its `inputs`");
}

#[test]
fn side_inputs_that_cannot_be_read_as_asked() {
    let odd = sound().par_do("Look", "words", &["looked"]).sides(&[("pairs", "telepathy"), ("words", "multimap")]);
    assert_snapshot!(odd.problems(), @"
    Look: reads side input `side0` by the access pattern `beam:side_input:telepathy:v1`, which Purlin does not know; use `beam:side_input:iterable:v1` or `beam:side_input:multimap:v1`
    Look: reads side input `side1` by key, whose coder `bytes` is not one of keys and values; make its elements pairs, or read it as an iterable
    ");
    let silent = sound().par_do("Look", "words", &["looked"]).sides(&[("pairs", "iterable")]).payload(|payload| {
        payload.side_inputs.get_mut("side0").unwrap().access_pattern = None;
    });
    assert_snapshot!(silent.problems(), @"Look: reads side input `side0` by the access pattern ``, which Purlin does not know; use `beam:side_input:iterable:v1` or `beam:side_input:multimap:v1`");
}

#[test]
fn what_is_grouped_and_is_no_pair() {
    let grouped = sound().group("Group words", "words", "lists");
    assert_snapshot!(grouped.problems(), @"
    Group words: emits PCollection `lists`, whose coder is not one of keys and iterables of values; submit the pipeline as the SDK wrote it, with all its components
    Group words: groups PCollection `words`, whose coder `bytes` is not one of keys and values; make its elements pairs before grouping
    ");
    let combined =
        sound().collection("lists", "kv<bytes, iterable<bytes>>").combine("Sum", "words", "lists", "sums", "any");
    assert_snapshot!(combined.problems(), @"Sum: groups PCollection `words`, whose coder `bytes` is not one of keys and values; make its elements pairs before grouping");
    let remembered = sound().par_do("Remember", "words", &["remembered"]).stateful();
    assert_snapshot!(remembered.problems(), @"Remember: has state or timers, and reads PCollection `words`, whose coder `bytes` is not one of keys and values; make its elements pairs: state belongs to a key");
}

#[test]
fn windows_that_change_where_nobody_assigns_them() {
    let longer = WindowFn::Fixed { size: Millis(20_000), offset: Millis(0) };
    let windowed = || {
        TestPipeline::new()
            .strategy("longer", "interval_window", longer.clone(), |_| ())
            .windowed("fixed", "kv<bytes, bytes>", "fixed")
            .windowed("longer", "kv<bytes, bytes>", "longer")
            .collection("global", "kv<bytes, bytes>")
            .collection("groups", "kv<bytes, iterable<bytes>>")
            .impulse("start")
            .par_do("Make", "start", &["fixed", "global", "longer"])
    };
    assert_eq!(windowed().problems(), "");
    assert_snapshot!(windowed().flatten("Join", &["global", "fixed"], "all").problems(), @"Join: flattens PCollection `fixed`, whose windows are encoded in another way than those of its output; window all inputs of a flatten alike");
    let longer = windowed().windowed("all", "bytes", "fixed").flatten("Join", &["longer", "fixed"], "all");
    assert_eq!(longer.problems(), "", "elements keep the windows that they came in");
    assert_snapshot!(windowed().group("Group", "fixed", "groups").problems(), @"Group: takes windows encoded as `beam:coder:interval_window:v1` and emits them into PCollection `groups` as `beam:coder:global_window:v1`; its input and output must have the same windowing; windows are assigned by a WindowInto");
    assert_snapshot!(windowed().reshuffle("Shuffle", "fixed", "shuffled").problems(), @"Shuffle: takes windows encoded as `beam:coder:interval_window:v1` and emits them into PCollection `shuffled` as `beam:coder:global_window:v1`; its input and output must have the same windowing; windows are assigned by a WindowInto");
    let other = |pipeline: TestPipeline| pipeline.windowed("regrouped", "kv<bytes, iterable<bytes>>", "longer");
    assert_snapshot!(other(windowed()).group("Group", "fixed", "regrouped").problems(), @"Group: takes windows of Fixed { size: 10000ms, offset: 0ms } and emits them into PCollection `regrouped`, which says Fixed { size: 20000ms, offset: 0ms }; its input and output must have the same windowing; windows are assigned by a WindowInto");
    let combined = other(windowed()).windowed("sums", "kv<bytes, bytes>", "longer");
    assert_snapshot!(combined.combine("Sum", "fixed", "regrouped", "sums", "bytes").problems(), @"Sum: takes windows of Fixed { size: 10000ms, offset: 0ms } and emits them into PCollection `sums`, which says Fixed { size: 20000ms, offset: 0ms }; its input and output must have the same windowing; windows are assigned by a WindowInto");
    assert_snapshot!(TestPipeline::new().windowed("start", "bytes", "fixed").impulse("start").problems(), @"Impulse start: emits into the global window, and windows encoded as `beam:coder:interval_window:v1` are declared; assign windows behind it");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let wrong = sound()
        .requires("beam:requirement:pardo:telepathy:v1")
        .transform("Teleport", "test:teleport", &["words"], &["there"])
        .par_do("Lost", "gone", &["found"])
        .in_env("moon")
        .par_do("Remember", "words", &["remembered"])
        .stateful()
        .par_do("Look", "words", &["looked"])
        .sides(&[("words", "multimap")])
        .group("Group words", "words", "groups of words")
        .flatten("Join", &["words", "back"], "joined")
        .par_do("Back", "joined", &["back"])
        .windowed("windowed", "bytes", "fixed")
        .flatten("Flat", &["words"], "windowed")
        .par_do("Torn", "words", &["torn"])
        .edit(|transform| transform.spec.as_mut().unwrap().payload = b"\xff".as_slice().into())
        .change(|components| {
            components.environments.remove("moon");
            components.coders.insert("nothing".to_owned(), pb::Coder::default());
            components.windowing_strategies.get_mut("sessions").unwrap().trigger = None;
            components.pcollections.get_mut("looked").unwrap().coder_id = "none".to_owned();
            components.environments.get_mut("py").unwrap().urn = "EMBEDDED".to_owned();
        });
    assert_snapshot!(crate::validate(wrong.proto()).unwrap_err(), @r#"
    this pipeline cannot run, for 15 reasons:
    - Flat: flattens PCollection `words`, whose windows are encoded in another way than those of its output; window all inputs of a flatten alike
    - Group words: emits PCollection `groups of words`, whose coder is not one of keys and iterables of values; submit the pipeline as the SDK wrote it, with all its components
    - Group words: groups PCollection `words`, whose coder `bytes` is not one of keys and values; make its elements pairs before grouping
    - Look: reads side input `side0` by key, whose coder `bytes` is not one of keys and values; make its elements pairs, or read it as an iterable
    - Lost: names environment `moon`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    - Lost: reads PCollection `gone`, which no transform emits; submit the pipeline as the SDK wrote it, with all its components
    - PCollection `looked`: names coder `none`, which does not exist; submit the pipeline as the SDK wrote it, with all its components
    - Remember: has state or timers, and reads PCollection `words`, whose coder `bytes` is not one of keys and values; make its elements pairs: state belongs to a key
    - Teleport: is a transform of kind `test:teleport`, which neither Purlin nor its environment knows; replace it by transforms that Beam defines, or choose a runner that knows it
    - Torn: has a ParDoPayload that cannot be read: failed to decode Protobuf message: invalid varint; send the payload that Beam defines for a ParDo
    - coders: coders["nothing"].spec.urn is not set; send the URN of a coder
    - environment `py`: is of kind `EMBEDDED`, which lives inside the SDK's own runners; submit with --environment_type=LOOPBACK
    - pipeline: requires `beam:requirement:pardo:telepathy:v1`, which Purlin does not know; use an SDK of Beam 2.77 or earlier, or leave out what needs it
    - transforms: stand on a cycle: each consumes what comes of the others: `Join`, `Back`; break the cycle
    - windowing strategy `sessions`: windowing_strategies["sessions"].trigger is not set; send a trigger
    "#);
}

#[test]
fn two_states_under_one_name() {
    let stateful = |pipeline: TestPipeline, name: &str| {
        pipeline
            .par_do(name, "pairs", &[name])
            .stateful()
            .edit(|transform| transform.unique_name = "Remember".to_owned())
    };
    let pipeline = || {
        TestPipeline::new().collection("pairs", "kv<bytes, bytes>").impulse("start").par_do("Pair", "start", &["pairs"])
    };
    assert_eq!(stateful(pipeline(), "one").problems(), "");
    let both = stateful(stateful(pipeline(), "one"), "other");
    assert_snapshot!(both.problems(), @"Remember: is the name of two transforms with state or timers, `other` among them; give each its own `unique_name`: state is kept under it");
}

/// No SDK has a mapping into sessions: Java's and Python's refuse it themselves, and Go's panics.
#[test]
fn no_side_input_is_in_sessions() {
    let pipeline = TestPipeline::new()
        .windowed("visits", "bytes", "sessions")
        .impulse("start")
        .par_do("Visit", "start", &["visits"])
        .par_do("Look", "start", &["looked"])
        .sides(&[("visits", "iterable")]);
    assert_snapshot!(pipeline.problems(), @"Look: reads side input `side0`, which is in session windows: none of them can be told by a window of the main input; assign fixed, sliding or global windows to it first");
}
