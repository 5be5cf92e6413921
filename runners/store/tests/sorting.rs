//! Laws of sorting by time as input comes: each key's elements in order, none before its time, none lost, the late ones counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod grouping;

use grouping::{Element, Groups, Pane};
use proptest::prelude::*;
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};

/// What happens to a sort.
#[derive(Clone, Debug)]
enum Step {
    /// Keys and timestamps.
    Elements(Vec<(u8, i64)>),
    /// How far event time moves.
    Watermark(i64),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let elements = proptest::collection::vec((0u8..3, 0i64..40), 1..10);
    let step = prop_oneof![elements.prop_map(Step::Elements), (0i64..12).prop_map(Step::Watermark)];
    proptest::collection::vec(step, 0..14)
}

/// What waits in a model of a sort: key, timestamp, number.
type Waiting = Vec<(u8, i64, u8)>;

/// Takes out of a model what is to come out at a watermark, in the order of each key.
fn due(waiting: &mut Waiting, lateness: i64, watermark: Option<i64>) -> Waiting {
    let is_due = |&(_, at, _): &(u8, i64, u8)| watermark.is_none_or(|watermark| at + lateness < watermark);
    let mut taken: Waiting = waiting.iter().copied().filter(is_due).collect();
    waiting.retain(|it| !is_due(it));
    taken.sort_by_key(|(key, at, _)| (*key, *at));
    taken
}

/// What came out, keys apart: they come out in any order, each in its own.
fn by_key(panes: &[Pane]) -> Waiting {
    let mut shown: Waiting = panes.iter().map(|pane| (pane.key, pane.timestamp.millis(), pane.values[0])).collect();
    shown.sort_by_key(|(key, _, _)| *key);
    shown
}

proptest! {
    #[test]
    fn elements_come_out_in_order_of_time_and_no_earlier_than_they_may(steps in any_steps(), lateness in 0i64..8) {
        let mut sort = Groups::sorted(WindowCoder::Global, Millis(lateness));
        let (mut waiting, mut watermark, mut late, mut next) = (Waiting::new(), 0, 0, 0u8);
        sort.watermark(EventTime::from_millis(watermark));
        for step in steps {
            match step {
                Step::Elements(elements) => {
                    let mut bundle = Vec::new();
                    for (key, timestamp) in elements {
                        next += 1;
                        bundle.push(Element { key, value: next, timestamp, windows: vec![BoundedWindow::Global] });
                        if watermark > timestamp + lateness {
                            late += 1;
                        } else {
                            waiting.push((key, timestamp, next));
                        }
                    }
                    prop_assert_eq!(sort.elements(&bundle), []);
                }
                Step::Watermark(by) => {
                    watermark += by;
                    let panes = sort.watermark(EventTime::from_millis(watermark));
                    prop_assert_eq!(by_key(&panes), due(&mut waiting, lateness, Some(watermark)));
                }
            }
            let least = waiting.iter().map(|(_, at, _)| EventTime::from_millis(*at)).min();
            prop_assert_eq!(sort.hold(), least, "what waits holds the output");
            prop_assert_eq!(sort.dropped.late, late);
        }
        let panes = sort.watermark(EventTime::MAX);
        prop_assert_eq!(by_key(&panes), due(&mut waiting, lateness, None));
        prop_assert!(sort.is_empty());
    }
}

#[test]
fn a_page_is_not_the_end_of_what_came_at_one_instant() {
    let mut sort = Groups::sorted(WindowCoder::Global, Millis(0));
    let element = |value| Element { key: 1, value, timestamp: 5, windows: vec![BoundedWindow::Global] };
    for value in 0..=255 {
        sort.elements(&[element(value)]);
    }
    let values: Vec<u8> = sort.watermark(EventTime::from_millis(6)).iter().map(|pane| pane.values[0]).collect();
    assert_eq!(values, (0..=255).collect::<Vec<u8>>());
}
