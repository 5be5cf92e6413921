//! Coders: from messages that name each other by id to values that hold their components.
//!
//! ```text
//!   Components.coders: { id: Coder { spec, component ids } } ──► { CoderId: Arc<model Coder> }     from_components
//!                                                          ◄─── a model Coder                      to_wire
//! ```
//!
//! Ids may dangle or run in circles, and chains of them may be long, so they are followed without recursion, each once.
//! A URN that Beam does not declare is no fault: it becomes [`Coder::Unknown`]. Does not know who uses a coder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::{Message, Name};
use purlin_model::coder::{Coder, CoderError};
use purlin_model::ids::CoderId;

use super::problem::{Fault, Path, Problems};
use super::schema;
use crate::pipeline::v1 as pb;
use crate::urns;

/// The most ids of a circle that a message shows, and the longest id that is made of a coder's name.
const CYCLE_SHOWN: usize = 8;
const NAME_MAX: usize = 80;

/// Reads all coders of a pipeline, components shared.
///
/// An id is missing from the result exactly when its coder is faulty or consists of one that is. Each fault is reported
/// once, where it stands: a coder that only contains a faulty one is not reported again. Cost: every coder is made once.
pub fn from_components(
    coders: &BTreeMap<String, pb::Coder>,
    at: &Path<'_>,
    problems: &mut Problems,
) -> BTreeMap<CoderId, Arc<Coder>> {
    let mut resolver =
        Resolver { coders, at, problems, done: BTreeMap::new(), open: Vec::new(), is_open: BTreeSet::new() };
    for id in coders.keys() {
        resolver.resolve(id);
    }
    resolver.done.into_iter().filter_map(|(id, coder)| Some((CoderId::new(id), coder?))).collect()
}

/// Adds a coder and its components to `coders`, and says the id under which it stands.
///
/// Ids are the coders' names, so that plans can be read: `kv<bytes, varint>`. Equal coders share one entry; where an id
/// is taken by another coder, a number is appended. [`from_components`] reads back an equal coder.
///
/// # Errors
/// When the windows in the payload of a `param_windowed_value` are not windows of its window coder.
pub fn to_wire(coder: &Coder, coders: &mut BTreeMap<String, pb::Coder>) -> Result<CoderId, CoderError> {
    let mut component_coder_ids = Vec::new();
    for component in coder.components() {
        component_coder_ids.push(to_wire(component, coders)?.as_str().to_owned());
    }
    let payload = match coder {
        Coder::Row(schema) => schema::to_wire(schema).encode_to_vec().into(),
        Coder::ParamWindowedValue { value: _, window, constant } => constant.to_payload(window)?.into(),
        Coder::Unknown(unknown) => unknown.payload.clone(),
        Coder::Bytes
        | Coder::StringUtf8
        | Coder::Bool
        | Coder::VarInt
        | Coder::Double
        | Coder::Kv(..)
        | Coder::Iterable(_)
        | Coder::StateBackedIterable(_)
        | Coder::LengthPrefix(_)
        | Coder::Nullable(_)
        | Coder::ShardedKey(_)
        | Coder::GlobalWindow
        | Coder::IntervalWindow
        | Coder::CustomWindow(_)
        | Coder::WindowedValue { .. }
        | Coder::Timer { .. } => bytes::Bytes::new(),
    };
    let wire = pb::Coder { spec: Some(pb::FunctionSpec { urn: coder.urn().to_owned(), payload }), component_coder_ids };
    let name = Some(coder.to_string()).filter(|name| name.len() <= NAME_MAX);
    let id = free_id(name.as_deref().unwrap_or(coder.urn()), &wire, coders);
    coders.insert(id.clone(), wire);
    Ok(CoderId::new(id))
}

/// The first of `name`, `name#2`, `name#3` … that is free or holds the same coder.
fn free_id(name: &str, wire: &pb::Coder, coders: &BTreeMap<String, pb::Coder>) -> String {
    let fits = |id: &String| coders.get(id).is_none_or(|taken| taken == wire);
    let numbered = (2..).map(|number: u32| format!("{name}#{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(fits)
        .expect("a map holds fewer coders than there are numbers")
}

struct Resolver<'a> {
    coders: &'a BTreeMap<String, pb::Coder>,
    at: &'a Path<'a>,
    problems: &'a mut Problems,
    /// Each coder that has been made, or `None` if it or a part of it is faulty.
    done: BTreeMap<&'a str, Option<Arc<Coder>>>,
    /// The way from a root to the coder at hand, and the same ids as a set.
    open: Vec<Visit<'a>>,
    is_open: BTreeSet<&'a str>,
}

struct Visit<'a> {
    id: &'a str,
    wire: &'a pb::Coder,
    next_component: usize,
}

impl<'a> Resolver<'a> {
    /// Makes `root` and all that it consists of.
    fn resolve(&mut self, root: &'a str) {
        self.open_unless_done(root);
        while let Some(visit) = self.open.last_mut() {
            let place = visit.next_component;
            visit.next_component += 1;
            let (id, wire) = (visit.id, visit.wire);
            match wire.component_coder_ids.get(place) {
                Some(component) if self.is_open.contains(component.as_str()) => {
                    let ids = self.circle(component);
                    self.report_component(id, place, Fault::Cycle { ids });
                }
                Some(component) if !self.coders.contains_key(component) => {
                    self.report_component(id, place, Fault::Dangling { what: "coder", id: component.clone() });
                }
                Some(component) => self.open_unless_done(component),
                None => {
                    let coder = self.make(id, wire);
                    self.open.pop();
                    self.is_open.remove(id);
                    self.done.insert(id, coder);
                }
            }
        }
    }

    fn open_unless_done(&mut self, id: &'a str) {
        if let Some(wire) = self.coders.get(id).filter(|_| !self.done.contains_key(id)) {
            self.open.push(Visit { id, wire, next_component: 0 });
            self.is_open.insert(id);
        }
    }

    /// All components have been visited; those that are not done are at fault and have been reported.
    fn make(&mut self, id: &str, wire: &pb::Coder) -> Option<Arc<Coder>> {
        let at = self.at.key(id);
        let Some(spec) = wire.spec.as_ref().filter(|spec| !spec.urn.is_empty()) else {
            let spec_at = at.field("spec");
            self.problems.report(&spec_at.field("urn"), Fault::Missing { expected: "the URN of a coder" });
            return None;
        };
        let components = wire.component_coder_ids.iter().map(|id| self.done.get(id.as_str()).cloned().flatten());
        let components: Vec<Arc<Coder>> = components.collect::<Option<_>>()?;
        let made = if spec.urn == urns::standard_coders::ROW {
            self.row(spec, components.len(), &at)?
        } else {
            Coder::from_urn(&spec.urn, &spec.payload, components).map_err(|error| error.to_string())
        };
        match made {
            Ok(coder) => Some(Arc::new(coder)),
            Err(reason) => {
                self.problems.report(&at, Fault::Malformed { message: pb::Coder::NAME, reason });
                None
            }
        }
    }

    /// `None` when the schema is at fault, which has then been reported.
    fn row(&mut self, spec: &pb::FunctionSpec, components: usize, at: &Path<'_>) -> Option<Result<Coder, String>> {
        if components != 0 {
            return Some(Err(format!("{} takes 0 component coders and has {components}", spec.urn)));
        }
        let spec_at = at.field("spec");
        let payload_at = spec_at.field("payload");
        match pb::Schema::decode(spec.payload.clone()) {
            Ok(wire) => {
                let schema = schema::from_wire(&wire, &payload_at, self.problems)?;
                Some(Ok(Coder::Row(Arc::new(schema))))
            }
            Err(error) => {
                let fault = Fault::Malformed { message: pb::Schema::NAME, reason: error.to_string() };
                self.problems.report(&payload_at, fault);
                None
            }
        }
    }

    fn report_component(&mut self, id: &str, place: usize, fault: Fault) {
        let coder_at = self.at.key(id);
        let components_at = coder_at.field("component_coder_ids");
        self.problems.report(&components_at.index(place), fault);
    }

    /// The ids from `first` to the coder at hand and to `first` again.
    fn circle(&self, first: &str) -> Vec<String> {
        let from = self.open.iter().position(|visit| visit.id == first).unwrap_or_default();
        let mut ids: Vec<String> = self.open[from..].iter().map(|visit| visit.id.to_owned()).collect();
        if ids.len() > CYCLE_SHOWN {
            let left_out = ids.len() - CYCLE_SHOWN;
            ids.splice(CYCLE_SHOWN / 2..ids.len() - CYCLE_SHOWN / 2, [format!("({left_out} more)")]);
        }
        ids.push(first.to_owned());
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use purlin_model::coder::value::Value;
    use purlin_model::coder::{ConstantHeader, DEPTH_MAX, UnknownCoder};
    use purlin_model::pane::PaneInfo;
    use purlin_model::time::EventTime;

    type Wire = BTreeMap<String, pb::Coder>;

    fn message(urn: &str, payload: impl Into<Bytes>, components: &[&str]) -> pb::Coder {
        pb::Coder {
            spec: Some(pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() }),
            component_coder_ids: components.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    fn wire<const N: usize>(coders: [(&str, &str, &[&str]); N]) -> Wire {
        coders.into_iter().map(|(id, urn, components)| (id.to_owned(), message(urn, "", components))).collect()
    }

    fn read(wire: &Wire) -> (BTreeMap<CoderId, Arc<Coder>>, String) {
        let mut problems = Problems::new();
        let coders = from_components(wire, &Path::root("coders"), &mut problems);
        assert_eq!(
            coders.len() < wire.len(),
            !problems.is_empty(),
            "a coder is missing exactly when something is wrong"
        );
        (coders, problems.to_string())
    }

    fn coders() -> impl Strategy<Value = Coder> {
        let leaf = prop_oneof![
            Just(Coder::Bytes),
            Just(Coder::StringUtf8),
            Just(Coder::Bool),
            Just(Coder::VarInt),
            Just(Coder::Double),
            Just(Coder::GlobalWindow),
            Just(Coder::IntervalWindow),
            schema::tests::schemas().prop_map(|schema| Coder::Row(Arc::new(schema))),
        ];
        leaf.prop_recursive(5, 20, 3, |inner| {
            let arc = inner.prop_map(Arc::new).boxed();
            let two = (arc.clone(), arc.clone());
            prop_oneof![
                two.clone().prop_map(|(key, value)| Coder::Kv(key, value)),
                two.clone().prop_map(|(value, window)| Coder::WindowedValue { value, window }),
                two.prop_map(|(key, window)| Coder::Timer { key, window }),
                arc.clone().prop_map(Coder::Iterable),
                arc.clone().prop_map(Coder::StateBackedIterable),
                arc.clone().prop_map(Coder::LengthPrefix),
                arc.clone().prop_map(Coder::Nullable),
                arc.clone().prop_map(Coder::ShardedKey),
                arc.clone().prop_map(Coder::CustomWindow),
                (arc.clone(), any::<i32>()).prop_map(|(value, millis)| Coder::ParamWindowedValue {
                    value,
                    window: Arc::new(Coder::GlobalWindow),
                    constant: Arc::new(ConstantHeader {
                        timestamp: EventTime::from_millis(millis.into()),
                        windows: vec![],
                        pane: PaneInfo::NO_FIRING,
                    }),
                }),
                (prop::collection::vec(arc, 0..3), any::<u8>()).prop_map(|(components, byte)| {
                    let payload = Bytes::from(vec![byte]);
                    Coder::Unknown(Arc::new(UnknownCoder { urn: "some:urn".to_owned(), payload, components }))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_coder_is_read_back(first in coders(), second in coders()) {
            let mut wire = Wire::new();
            let ids = [&first, &second].map(|coder| to_wire(coder, &mut wire).expect("windows fit"));
            let (read, _) = read(&wire);
            prop_assert_eq!(&*read[&ids[0]], &first);
            prop_assert_eq!(&*read[&ids[1]], &second);
        }
    }

    #[test]
    fn ids_tell_what_the_coder_is_and_are_shared_by_equal_ones() {
        let mut wire = Wire::new();
        let pairs = Coder::iterable(Coder::kv(Coder::Bytes, Coder::Bytes));
        assert_eq!(to_wire(&pairs, &mut wire).expect("no payload").as_str(), "iterable<kv<bytes, bytes>>");
        assert_eq!(wire.keys().collect::<Vec<_>>(), ["bytes", "iterable<kv<bytes, bytes>>", "kv<bytes, bytes>"]);
        wire.insert("varint".to_owned(), message("some:urn", "", &[]));
        assert_eq!(to_wire(&Coder::VarInt, &mut wire).expect("no payload").as_str(), "varint#2");
        assert_eq!(to_wire(&Coder::VarInt, &mut wire).expect("no payload").as_str(), "varint#2");
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let constant = ConstantHeader {
            timestamp: EventTime::from_millis(0),
            windows: vec![Value::Bytes(Bytes::new())],
            pane: PaneInfo::NO_FIRING,
        };
        let (value, window) = (Arc::new(Coder::Bytes), Arc::new(Coder::IntervalWindow));
        let coder = Coder::ParamWindowedValue { value, window, constant: Arc::new(constant) };
        assert!(to_wire(&coder, &mut Wire::new()).is_err());
    }

    #[test]
    fn components_are_shared_and_unknown_urns_are_values() {
        let (read, _) = read(&wire([
            ("k", "beam:coder:bytes:v1", &[]),
            ("p", "beam:coder:kv:v1", &["k", "u"]),
            ("u", "beam:coder:pickled_python:v1", &["k"]),
        ]));
        let Coder::Kv(key, value) = &*read["p"] else { panic!("{}", read["p"]) };
        assert!(Arc::ptr_eq(key, &read["k"]) && Arc::ptr_eq(value, &read["u"]));
        assert_eq!(read["u"].urn(), "beam:coder:pickled_python:v1");
    }

    #[test]
    fn every_fault_is_told_once_and_the_rest_is_read() {
        let mut coders = wire([
            ("a", "beam:coder:kv:v1", &["good", "gone"]),
            ("b", "beam:coder:iterable:v1", &["a"]),
            ("c", "beam:coder:kv:v1", &["good"]),
            ("d", "", &[]),
            ("good", "beam:coder:bytes:v1", &[]),
            ("x", "beam:coder:iterable:v1", &["y"]),
            ("y", "beam:coder:kv:v1", &["z", "x"]),
            ("z", "beam:coder:nullable:v1", &["z"]),
        ]);
        coders.insert("e".to_owned(), pb::Coder::default());
        coders.insert("r".to_owned(), message(urns::standard_coders::ROW, vec![0xff], &[]));
        let field = pb::Schema { fields: vec![pb::Field::default()], ..Default::default() };
        coders.insert("s".to_owned(), message(urns::standard_coders::ROW, field.encode_to_vec(), &[]));
        coders.insert("t".to_owned(), message(urns::standard_coders::ROW, "", &["good"]));
        let (read, problems) = read(&coders);
        assert_eq!(read.keys().map(CoderId::as_str).collect::<Vec<_>>(), ["good"]);
        let lines: Vec<&str> = problems.lines().collect();
        let row = lines.iter().position(|line| line.starts_with("coders[\"r\"]")).expect("the broken schema");
        assert!(lines[row].starts_with("coders[\"r\"].spec.payload is not a valid Schema: "), "{}", lines[row]);
        assert_eq!(
            [&lines[..row], &lines[row + 1..]].concat(),
            [
                "coders[\"a\"].component_coder_ids[1] names the coder \"gone\", which the pipeline does not hold",
                "coders[\"c\"] is not a valid Coder: beam:coder:kv:v1 takes 2 component coders and has 1",
                "coders[\"d\"].spec.urn is not set; send the URN of a coder",
                "coders[\"e\"].spec.urn is not set; send the URN of a coder",
                "coders[\"s\"].spec.payload.fields[0].type is not set; send the type",
                "coders[\"t\"] is not a valid Coder: beam:coder:row:v1 takes 0 component coders and has 1",
                "coders[\"z\"].component_coder_ids[0] contains itself: z -> z",
                "coders[\"y\"].component_coder_ids[1] contains itself: x -> y -> x",
            ]
        );
    }

    #[test]
    fn long_chains_and_circles_end() {
        let length = 200_000;
        let id = |number: usize| format!("{number:06}");
        let chain: Wire = (0..length)
            .map(|number| (id(number), message(urns::standard_coders::ITERABLE, "", &[id(number + 1).as_str()])))
            .collect();
        let mut open_end = chain.clone();
        open_end.insert(id(length), message(urns::standard_coders::BYTES, "", &[]));
        let (made, problems) = read(&open_end);
        assert_eq!(made.len(), DEPTH_MAX);
        assert_eq!(problems, "coders[\"199900\"] is not a valid Coder: coders are nested deeper than 100 levels");

        let mut circle = chain;
        circle.insert(id(length), message(urns::standard_coders::ITERABLE, "", &[id(0).as_str()]));
        assert_eq!(
            read(&circle).1,
            "coders[\"200000\"].component_coder_ids[0] contains itself: 000000 -> 000001 -> 000002 -> 000003 -> \
             (199993 more) -> 199997 -> 199998 -> 199999 -> 200000 -> 000000"
        );
    }

    #[test]
    fn the_model_knows_the_coders_by_beams_urns() {
        use crate::urns::standard_coders as beam;
        use purlin_model::coder::urns as model;
        let pairs = [
            (beam::BYTES, model::BYTES),
            (beam::STRING_UTF8, model::STRING_UTF8),
            (beam::KV, model::KV),
            (beam::BOOL, model::BOOL),
            (beam::VARINT, model::VARINT),
            (beam::DOUBLE, model::DOUBLE),
            (beam::ITERABLE, model::ITERABLE),
            (beam::TIMER, model::TIMER),
            (beam::INTERVAL_WINDOW, model::INTERVAL_WINDOW),
            (beam::LENGTH_PREFIX, model::LENGTH_PREFIX),
            (beam::GLOBAL_WINDOW, model::GLOBAL_WINDOW),
            (beam::WINDOWED_VALUE, model::WINDOWED_VALUE),
            (beam::PARAM_WINDOWED_VALUE, model::PARAM_WINDOWED_VALUE),
            (beam::STATE_BACKED_ITERABLE, model::STATE_BACKED_ITERABLE),
            (beam::CUSTOM_WINDOW, model::CUSTOM_WINDOW),
            (beam::ROW, model::ROW),
            (beam::SCHEMA, model::SCHEMA),
            (beam::SHARDED_KEY, model::SHARDED_KEY),
            (beam::NULLABLE, model::NULLABLE),
        ];
        for (beam, model) in pairs {
            assert_eq!(beam, model);
        }
        let declared = crate::json::descriptor_pool()
            .get_enum_by_name("org.apache.beam.model.pipeline.v1.StandardCoders.Enum")
            .expect("declared");
        assert_eq!(declared.values().len(), pairs.len(), "Beam has coders that the model does not name");
    }
}
