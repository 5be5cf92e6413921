//! Triggers by themselves: what happens, step by step, and where they fire.

use proptest::prelude::*;
use purlin_model::time::{EventTime, Millis, ProcessingTime};
use purlin_model::trigger::{TimestampTransform, Trigger};

use super::{At, TriggerState};

const WINDOW_MAX: i64 = 9;

fn count(count: i32) -> Trigger {
    Trigger::ElementCount { count }
}

fn clock(delay: i64) -> Trigger {
    Trigger::AfterProcessingTime { transforms: vec![TimestampTransform::Delay(Millis(delay))] }
}

fn end(early: Option<Trigger>, late: Option<Trigger>) -> Trigger {
    Trigger::AfterEndOfWindow { early: early.map(Box::new), late: late.map(Box::new) }
}

fn repeat(sub: Trigger) -> Trigger {
    Trigger::Repeat(Box::new(sub))
}

fn start(merging: bool) -> At {
    At {
        watermark: EventTime::MIN,
        window_max: EventTime::from_millis(WINDOW_MAX),
        now: ProcessingTime(0),
        merging,
        more: false,
    }
}

/// One step: `+N` elements, `wN` watermark, `cN` clock. Tells whether the trigger fired behind it.
fn step(trigger: &Trigger, state: &mut TriggerState, at: &mut At, step: &str) -> bool {
    let (kind, number) = step.split_at(1);
    let number: i64 = number.parse().expect("a step is a letter and a number");
    match kind {
        "+" => state.on_elements(trigger, number as u64, at),
        "w" => at.watermark = EventTime::from_millis(number),
        _ => at.now = ProcessingTime(number),
    }
    let fires = state.should_fire(trigger, at);
    if fires {
        state.on_fire(trigger, at);
    }
    fires
}

/// Steps as in [`step`]; `!` behind one says that the trigger fires there, `!.` that it finishes too.
fn check(trigger: &Trigger, story: &str) {
    let mut state = TriggerState::new(trigger);
    let mut at = start(false);
    let told: Vec<String> = story
        .split_whitespace()
        .map(|word| {
            let plain = word.trim_end_matches(['!', '.']);
            let fired = step(trigger, &mut state, &mut at, plain);
            let finished = fired && state.is_finished();
            format!("{plain}{}{}", if fired { "!" } else { "" }, if finished { "." } else { "" })
        })
        .collect();
    assert_eq!(told.join(" "), story, "{trigger:?}");
    let mut kept = Vec::new();
    state.encode(&mut kept);
    assert_eq!(TriggerState::decode(trigger, &mut &kept[..]), Some(state));
}

#[test]
fn each_kind_fires_where_beam_says() {
    check(&Trigger::Default, "+3 w9 w10! +1! +1!");
    check(&Trigger::Always, "+1! w5! +2!");
    check(&Trigger::Never, "+5 w100 c100");
    check(&Trigger::AfterSynchronizedProcessingTime, "+1! +1!");
    check(&count(3), "+1 +1 +1!. +3 w100");
    check(&count(3), "+5!.");
    check(&clock(10), "+1 c9 +1 c10!. c30");
    check(&end(None, None), "+1 w9 w10!. +1 w20");
    check(&end(Some(count(2)), None), "+1 +1! +1 w10!. +2");
    check(&end(None, Some(count(2))), "+1 w10! +1 +1! +1 +1!");
    check(&end(Some(count(2)), Some(count(1))), "+1 w10! +1! +1!");
    check(&repeat(count(2)), "+1 +1! +1 +1! w100");
    check(&repeat(clock(10)), "+1 c10! c20 +1 c29 c30!");
    check(&Trigger::AfterAny(vec![count(2), end(None, None)]), "+1 w10!.");
    check(&Trigger::AfterAll(vec![count(2), end(None, None)]), "+1 w10 +1!.");
    check(&Trigger::AfterAll(vec![count(1), clock(5)]), "+1 c4 c5!.");
    check(&Trigger::AfterEach(vec![count(2), count(1)]), "+1 +1! +1!.");
    let finally = Trigger::OrFinally { main: Box::new(repeat(count(2))), finally: Box::new(end(None, None)) };
    check(&finally, "+2! +1 w10!. +2");
}

#[test]
fn instants_are_aligned_up() {
    let aligned = |offset| Trigger::AfterProcessingTime {
        transforms: vec![
            TimestampTransform::Delay(Millis(3)),
            TimestampTransform::AlignTo { period: Millis(10), offset: Millis(offset) },
        ],
    };
    check(&aligned(0), "c4 +1 c9 c10!.");
    check(&aligned(7), "c4 +1 c6 c7!.");
    check(&aligned(8), "c4 +1 c7 c8!.");
}

#[test]
fn a_clock_that_was_waited_for_is_waited_for_no_more() {
    let trigger = Trigger::AfterAll(vec![count(5), clock(10)]);
    let mut state = TriggerState::new(&trigger);
    state.on_elements(&trigger, 1, &start(false));
    assert_eq!(state.next_clock(ProcessingTime(9)), Some(ProcessingTime(10)));
    assert_eq!(state.next_clock(ProcessingTime(10)), None);
}

/// The state of two windows that each heard its own story, merged at a watermark.
fn merged(trigger: &Trigger, stories: [&str; 2], watermark: i64) -> (TriggerState, At) {
    let mut at = At { watermark: EventTime::from_millis(watermark), ..start(true) };
    let [mut mine, other] = stories.map(|story| {
        let mut state = TriggerState::new(trigger);
        let mut at = start(true);
        story.split_whitespace().for_each(|word| {
            step(trigger, &mut state, &mut at, word);
        });
        state
    });
    at.window_max = EventTime::from_millis(WINDOW_MAX + 10);
    mine.merge(&other, trigger, &at);
    (mine, at)
}

#[test]
fn windows_that_merge_share_what_they_saw() {
    let fires = |trigger: &Trigger, stories, watermark| {
        let (state, at) = merged(trigger, stories, watermark);
        state.should_fire(trigger, &at)
    };
    assert!(fires(&count(3), ["+1", "+2"], 0));
    assert!(!fires(&count(4), ["+1", "+2"], 0));
    assert!(merged(&count(2), ["+2", "+1"], 0).0.is_finished(), "one had fired");
    assert!(fires(&end(Some(count(2)), None), ["+1", "+1"], 0));
    let both = end(None, Some(count(3)));
    assert!(fires(&both, ["+1 w10", "+1"], 30), "one had no pane on time");
    assert!(!fires(&both, ["+1 w10", "+1 w10"], 15), "the end lies ahead again");
    assert!(fires(&both, ["+1 w10 +2", "+1 w10 +1"], 30), "three are late");
    assert!(!fires(&both, ["+1 w10 +1", "+1 w10 +1"], 30));
    assert!(merged(&end(None, None), ["+1 w10", "+1 w10"], 30).0.is_finished());
    let each = Trigger::AfterEach(vec![count(2), count(3)]);
    assert!(fires(&each, ["+2 +2", "+2 +1"], 0), "both are at the second trigger");
    assert!(!fires(&each, ["+2 +1", "+2 +1"], 0));
    assert!(fires(&each, ["+1", "+1"], 0), "both are at the first");
    let (state, _) = merged(&clock(10), ["c3 +1", "+1"], 0);
    assert_eq!(state.next_clock(ProcessingTime(0)), Some(ProcessingTime(10)));
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    let leaf = prop_oneof![
        Just(Trigger::Default),
        Just(Trigger::Always),
        Just(Trigger::Never),
        Just(Trigger::AfterSynchronizedProcessingTime),
        (1i32..5).prop_map(count),
        (0i64..20).prop_map(clock),
    ];
    leaf.prop_recursive(3, 12, 3, |sub| {
        let subs = proptest::collection::vec(sub.clone(), 1..4);
        let option = proptest::option::of(sub.clone());
        prop_oneof![
            (option.clone(), option).prop_map(|(early, late)| end(early, late)),
            subs.clone().prop_map(Trigger::AfterAll),
            subs.clone().prop_map(Trigger::AfterAny),
            subs.prop_map(Trigger::AfterEach),
            sub.clone().prop_map(repeat),
            (sub.clone(), sub)
                .prop_map(|(main, finally)| Trigger::OrFinally { main: Box::new(main), finally: Box::new(finally) }),
        ]
    })
}

proptest! {
    /// What has finished never fires again, and what is kept is read back.
    #[test]
    fn finished_is_for_good(trigger in any_trigger(), merging in any::<bool>(), steps in proptest::collection::vec((0u8..3, 0i64..15), 0..30)) {
        let mut state = TriggerState::new(&trigger);
        let mut at = start(merging);
        for (kind, number) in steps {
            let finished = state.is_finished();
            let told = match kind {
                0 => format!("+{}", number + 1),
                1 => format!("w{}", at.watermark.millis().max(number)),
                _ => format!("c{}", at.now.0 + number),
            };
            let fired = step(&trigger, &mut state, &mut at, &told);
            prop_assert!(!(finished && fired), "{told}");
            prop_assert!(!finished || state.is_finished());
            let mut kept = Vec::new();
            state.encode(&mut kept);
            prop_assert_eq!(TriggerState::decode(&trigger, &mut &kept[..]), Some(state.clone()));
            for cut in 0..kept.len() {
                prop_assert_eq!(TriggerState::decode(&trigger, &mut &kept[..cut]), None);
            }
        }
    }
}
