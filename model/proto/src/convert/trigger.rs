//! Triggers: the `Trigger` message and its twelve kinds.
//!
//! ```text
//!   pb::Trigger (a oneof, anything optional) ◄──► model Trigger (closed enum, complete)
//! ```
//!
//! Nesting is bounded by [`DEPTH_MAX`], so that no message can exhaust the stack. Does not know when a trigger fires.

use purlin_model::time::Millis;
use purlin_model::trigger::{TimestampTransform, Trigger};

use super::problem::{Fault, Path, Problems};
use crate::pipeline::v1 as pb;
use crate::pipeline::v1::timestamp_transform as wire_transform;
use crate::pipeline::v1::trigger as wire_trigger;

/// How deep triggers may be nested: more than a decoder lets through (prost allows 100 messages, two per trigger).
pub const DEPTH_MAX: usize = 64;

const SUBTRIGGER: Fault = Fault::Missing { expected: "a trigger" };

/// Reads a trigger with its sub-triggers.
pub fn from_wire(wire: &pb::Trigger, at: &Path<'_>, problems: &mut Problems) -> Option<Trigger> {
    Reader { problems, depth: 0 }.trigger(wire, at)
}

/// Writes a trigger; [`from_wire`] reads it back.
pub fn to_wire(trigger: &Trigger) -> pb::Trigger {
    let boxed = |it: &Trigger| Some(Box::new(to_wire(it)));
    let list = |them: &[Trigger]| them.iter().map(to_wire).collect();
    let kind = match trigger {
        Trigger::Default => wire_trigger::Trigger::Default(wire_trigger::Default {}),
        Trigger::Always => wire_trigger::Trigger::Always(wire_trigger::Always {}),
        Trigger::Never => wire_trigger::Trigger::Never(wire_trigger::Never {}),
        Trigger::ElementCount { count } => {
            wire_trigger::Trigger::ElementCount(wire_trigger::ElementCount { element_count: *count })
        }
        Trigger::AfterEndOfWindow { early, late } => {
            wire_trigger::Trigger::AfterEndOfWindow(Box::new(wire_trigger::AfterEndOfWindow {
                early_firings: early.as_deref().and_then(boxed),
                late_firings: late.as_deref().and_then(boxed),
            }))
        }
        Trigger::AfterProcessingTime { transforms } => {
            wire_trigger::Trigger::AfterProcessingTime(wire_trigger::AfterProcessingTime {
                timestamp_transforms: transforms.iter().map(transform_to_wire).collect(),
            })
        }
        Trigger::AfterSynchronizedProcessingTime => {
            wire_trigger::Trigger::AfterSynchronizedProcessingTime(wire_trigger::AfterSynchronizedProcessingTime {})
        }
        Trigger::AfterAll(them) => wire_trigger::Trigger::AfterAll(wire_trigger::AfterAll { subtriggers: list(them) }),
        Trigger::AfterAny(them) => wire_trigger::Trigger::AfterAny(wire_trigger::AfterAny { subtriggers: list(them) }),
        Trigger::AfterEach(them) => {
            wire_trigger::Trigger::AfterEach(wire_trigger::AfterEach { subtriggers: list(them) })
        }
        Trigger::OrFinally { main, finally } => wire_trigger::Trigger::OrFinally(Box::new(wire_trigger::OrFinally {
            main: boxed(main),
            finally: boxed(finally),
        })),
        Trigger::Repeat(it) => wire_trigger::Trigger::Repeat(Box::new(wire_trigger::Repeat { subtrigger: boxed(it) })),
    };
    pb::Trigger { trigger: Some(kind) }
}

fn transform_to_wire(transform: &TimestampTransform) -> pb::TimestampTransform {
    let kind = match transform {
        TimestampTransform::Delay(Millis(delay_millis)) => {
            wire_transform::TimestampTransform::Delay(wire_transform::Delay { delay_millis: *delay_millis })
        }
        TimestampTransform::AlignTo { period: Millis(period), offset: Millis(offset) } => {
            wire_transform::TimestampTransform::AlignTo(wire_transform::AlignTo { period: *period, offset: *offset })
        }
    };
    pb::TimestampTransform { timestamp_transform: Some(kind) }
}

struct Reader<'a> {
    problems: &'a mut Problems,
    depth: usize,
}

impl Reader<'_> {
    fn trigger(&mut self, wire: &pb::Trigger, at: &Path<'_>) -> Option<Trigger> {
        if self.depth >= DEPTH_MAX {
            self.problems.report(at, Fault::TooDeep { max: DEPTH_MAX });
            return None;
        }
        self.depth += 1;
        let trigger = self.kind(wire, at);
        self.depth -= 1;
        trigger
    }

    fn kind(&mut self, wire: &pb::Trigger, at: &Path<'_>) -> Option<Trigger> {
        let Some(kind) = &wire.trigger else {
            self.problems.report(at, Fault::Missing { expected: "one of Beam's triggers" });
            return None;
        };
        match kind {
            wire_trigger::Trigger::Default(_) => Some(Trigger::Default),
            wire_trigger::Trigger::Always(_) => Some(Trigger::Always),
            wire_trigger::Trigger::Never(_) => Some(Trigger::Never),
            wire_trigger::Trigger::AfterSynchronizedProcessingTime(_) => Some(Trigger::AfterSynchronizedProcessingTime),
            wire_trigger::Trigger::ElementCount(it) => self.count(it.element_count, &at.field("element_count")),
            wire_trigger::Trigger::AfterEndOfWindow(it) => {
                let at = at.field("after_end_of_window");
                // Both are read before either may end the conversion, here and below, so that all faults are told.
                let early = self.optional(it.early_firings.as_deref(), &at.field("early_firings"));
                let late = self.optional(it.late_firings.as_deref(), &at.field("late_firings"));
                Some(Trigger::AfterEndOfWindow { early: early?, late: late? })
            }
            wire_trigger::Trigger::AfterProcessingTime(it) => {
                let at = at.field("after_processing_time");
                let at = at.field("timestamp_transforms");
                let steps = it.timestamp_transforms.iter().enumerate();
                let transforms: Vec<_> = steps.map(|(place, it)| self.transform(it, &at.index(place))).collect();
                Some(Trigger::AfterProcessingTime { transforms: transforms.into_iter().collect::<Option<_>>()? })
            }
            wire_trigger::Trigger::AfterAll(it) => {
                self.list(&it.subtriggers, &at.field("after_all")).map(Trigger::AfterAll)
            }
            wire_trigger::Trigger::AfterAny(it) => {
                self.list(&it.subtriggers, &at.field("after_any")).map(Trigger::AfterAny)
            }
            wire_trigger::Trigger::AfterEach(it) => {
                self.list(&it.subtriggers, &at.field("after_each")).map(Trigger::AfterEach)
            }
            wire_trigger::Trigger::OrFinally(it) => {
                let at = at.field("or_finally");
                let main = self.required(it.main.as_deref(), &at.field("main"));
                let finally = self.required(it.finally.as_deref(), &at.field("finally"));
                Some(Trigger::OrFinally { main: main?, finally: finally? })
            }
            wire_trigger::Trigger::Repeat(it) => {
                let at = at.field("repeat");
                self.required(it.subtrigger.as_deref(), &at.field("subtrigger")).map(Trigger::Repeat)
            }
        }
    }

    fn count(&mut self, count: i32, at: &Path<'_>) -> Option<Trigger> {
        if count >= 1 {
            return Some(Trigger::ElementCount { count });
        }
        self.problems.report(at, Fault::OutOfRange { value: count.to_string(), expected: "at least 1" });
        None
    }

    fn list(&mut self, wire: &[pb::Trigger], at: &Path<'_>) -> Option<Vec<Trigger>> {
        let at = at.field("subtriggers");
        if wire.is_empty() {
            self.problems.report(&at, Fault::WrongCount { found: 0, expected: "at least 1" });
            return None;
        }
        let read: Vec<_> = wire.iter().enumerate().map(|(place, it)| self.trigger(it, &at.index(place))).collect();
        read.into_iter().collect()
    }

    fn required(&mut self, wire: Option<&pb::Trigger>, at: &Path<'_>) -> Option<Box<Trigger>> {
        if wire.is_none() {
            self.problems.report(at, SUBTRIGGER);
        }
        self.trigger(wire?, at).map(Box::new)
    }

    /// `None` when there was a fault, `Some(None)` when there is no trigger.
    fn optional(&mut self, wire: Option<&pb::Trigger>, at: &Path<'_>) -> Option<Option<Box<Trigger>>> {
        match wire {
            None => Some(None),
            Some(wire) => Some(Some(Box::new(self.trigger(wire, at)?))),
        }
    }

    fn transform(&mut self, wire: &pb::TimestampTransform, at: &Path<'_>) -> Option<TimestampTransform> {
        let mut within = |name: &str, value: i64, least: i64, expected: &'static str| {
            if value < least {
                let fault = Fault::OutOfRange { value: format!("{value} ms"), expected };
                self.problems.report(&at.field(name), fault);
            }
            (value >= least).then_some(Millis(value))
        };
        match wire.timestamp_transform {
            Some(wire_transform::TimestampTransform::Delay(it)) => {
                within("delay", it.delay_millis, 0, "zero or more").map(TimestampTransform::Delay)
            }
            Some(wire_transform::TimestampTransform::AlignTo(it)) => {
                let period = within("align_to", it.period, 1, "longer than zero")?;
                Some(TimestampTransform::AlignTo { period, offset: Millis(it.offset) })
            }
            None => {
                self.problems.report(at, Fault::Missing { expected: "a delay or an alignment" });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn read(wire: &pb::Trigger) -> (Option<Trigger>, String) {
        let mut problems = Problems::new();
        let trigger = from_wire(wire, &Path::root("trigger"), &mut problems);
        assert_eq!(trigger.is_none(), !problems.is_empty(), "None exactly when something was reported");
        (trigger, problems.to_string())
    }

    fn transforms() -> impl Strategy<Value = TimestampTransform> {
        prop_oneof![
            (0..=i64::MAX).prop_map(|it| TimestampTransform::Delay(Millis(it))),
            (1..=i64::MAX, any::<i64>()).prop_map(|(period, offset)| TimestampTransform::AlignTo {
                period: Millis(period),
                offset: Millis(offset)
            }),
        ]
    }

    fn triggers() -> impl Strategy<Value = Trigger> {
        let leaf = prop_oneof![
            Just(Trigger::Default),
            Just(Trigger::Always),
            Just(Trigger::Never),
            Just(Trigger::AfterSynchronizedProcessingTime),
            (1..=i32::MAX).prop_map(|count| Trigger::ElementCount { count }),
            prop::collection::vec(transforms(), 0..3)
                .prop_map(|transforms| Trigger::AfterProcessingTime { transforms }),
        ];
        leaf.prop_recursive(5, 20, 3, |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            let list = prop::collection::vec(inner, 1..4);
            prop_oneof![
                list.clone().prop_map(Trigger::AfterAll),
                list.clone().prop_map(Trigger::AfterAny),
                list.prop_map(Trigger::AfterEach),
                boxed.clone().prop_map(Trigger::Repeat),
                (boxed.clone(), boxed.clone()).prop_map(|(main, finally)| Trigger::OrFinally { main, finally }),
                (prop::option::of(boxed.clone()), prop::option::of(boxed))
                    .prop_map(|(early, late)| Trigger::AfterEndOfWindow { early, late }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_trigger_is_read_back_through_its_bytes(trigger in triggers()) {
            let bytes = to_wire(&trigger).encode_to_vec();
            let wire = pb::Trigger::decode(bytes.as_slice()).expect("written by prost");
            prop_assert_eq!(read(&wire).0, Some(trigger));
        }
    }

    #[test]
    fn every_fault_in_a_tree_is_told_with_its_path() {
        let count = |element_count| pb::Trigger {
            trigger: Some(wire_trigger::Trigger::ElementCount(wire_trigger::ElementCount { element_count })),
        };
        let delay = |delay_millis| pb::TimestampTransform {
            timestamp_transform: Some(wire_transform::TimestampTransform::Delay(wire_transform::Delay {
                delay_millis,
            })),
        };
        let align = pb::TimestampTransform {
            timestamp_transform: Some(wire_transform::TimestampTransform::AlignTo(wire_transform::AlignTo {
                period: 0,
                offset: -5,
            })),
        };
        let clock = pb::Trigger {
            trigger: Some(wire_trigger::Trigger::AfterProcessingTime(wire_trigger::AfterProcessingTime {
                timestamp_transforms: vec![delay(-1), pb::TimestampTransform::default(), align],
            })),
        };
        let or_finally = pb::Trigger {
            trigger: Some(wire_trigger::Trigger::OrFinally(Box::new(wire_trigger::OrFinally {
                main: None,
                finally: Some(Box::new(count(-2))),
            }))),
        };
        let window = pb::Trigger {
            trigger: Some(wire_trigger::Trigger::AfterEndOfWindow(Box::new(wire_trigger::AfterEndOfWindow {
                early_firings: Some(Box::new(clock)),
                late_firings: Some(Box::new(or_finally)),
            }))),
        };
        let none = pb::Trigger { trigger: Some(wire_trigger::Trigger::AfterAny(wire_trigger::AfterAny::default())) };
        let all = wire_trigger::AfterAll { subtriggers: vec![count(0), window, none, pb::Trigger::default()] };
        let (_, problems) = read(&pb::Trigger { trigger: Some(wire_trigger::Trigger::AfterAll(all)) });
        let sub = "trigger.after_all.subtriggers";
        assert_eq!(
            problems,
            format!(
                "{sub}[0].element_count is 0; it must be at least 1\n\
                 {sub}[1].after_end_of_window.early_firings.after_processing_time.timestamp_transforms[0].delay is -1 ms; \
                 it must be zero or more\n\
                 {sub}[1].after_end_of_window.early_firings.after_processing_time.timestamp_transforms[1] is not set; \
                 send a delay or an alignment\n\
                 {sub}[1].after_end_of_window.early_firings.after_processing_time.timestamp_transforms[2].align_to is 0 ms; \
                 it must be longer than zero\n\
                 {sub}[1].after_end_of_window.late_firings.or_finally.main is not set; send a trigger\n\
                 {sub}[1].after_end_of_window.late_firings.or_finally.finally.element_count is -2; it must be at least 1\n\
                 {sub}[2].after_any.subtriggers has 0 items; it must have at least 1\n\
                 {sub}[3] is not set; send one of Beam's triggers"
            )
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| (1..levels).fold(Trigger::Default, |inner, _| Trigger::Repeat(Box::new(inner)));
        assert!(read(&to_wire(&nested(DEPTH_MAX))).0.is_some());
        let (_, problems) = read(&to_wire(&nested(DEPTH_MAX + 1)));
        assert!(problems.ends_with("is nested deeper than 64 levels"), "{problems}");
        let (_, problems) = read(&to_wire(&nested(1_000)));
        assert_eq!(problems.lines().count(), 1);
    }
}
