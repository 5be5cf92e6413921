//! Google's `Timestamp` and `Duration`, as SDKs really send them.
//!
//! ```text
//!   Timestamp { seconds, nanos } ──► EventTime (whole milliseconds, within Beam's range)
//!   Duration  { seconds, nanos } ──► Millis, or the reason why not
//! ```
//!
//! SDKs write Beam's instants into `Timestamp` although its legal range ends long before (year 1 to 9999), so both are
//! read from their raw parts. Does not know what an instant is used for.

use prost_types::{Duration, Timestamp};
use purlin_model::time::{EventTime, Millis};

const NANOS_PER_MILLI: i128 = 1_000_000;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The instant, rounded down to a millisecond and moved into Beam's range.
///
/// Total: any pair of numbers is an instant. Rounding down keeps a watermark from promising more than the SDK said.
/// Used for `BundleApplication.output_watermarks`.
pub fn event_time_from_wire(wire: &Timestamp) -> EventTime {
    let millis = nanos(wire.seconds, wire.nanos).div_euclid(NANOS_PER_MILLI);
    let bounds = i128::from(EventTime::MIN.millis())..=i128::from(EventTime::MAX.millis());
    let inside = millis.clamp(*bounds.start(), *bounds.end());
    EventTime::from_millis(i64::try_from(inside).expect("clamped between two values of i64"))
}

/// The same instant; `nanos` is never negative, as the message demands.
pub fn event_time_to_wire(instant: EventTime) -> Timestamp {
    let (seconds, nanos) = split(instant.millis());
    Timestamp { seconds, nanos }
}

/// Why a length of time is not one of the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Finer than a millisecond.
    TooFine,
    /// More milliseconds than 64 bits hold.
    TooLong,
}

/// The exact length in milliseconds.
pub(crate) fn millis_from_duration(wire: &Duration) -> Result<Millis, Unfit> {
    whole_millis(wire.seconds, wire.nanos)
}

/// The distance from the epoch in milliseconds, exactly: window offsets are written as instants.
pub(crate) fn millis_from_timestamp(wire: &Timestamp) -> Result<Millis, Unfit> {
    whole_millis(wire.seconds, wire.nanos)
}

/// The length; seconds and nanos have the same sign, as the message demands.
pub(crate) fn millis_to_duration(length: Millis) -> Duration {
    let (seconds, millis) = (length.0 / 1000, length.0 % 1000);
    Duration { seconds, nanos: sub_second_nanos(millis) }
}

/// The distance from the epoch, written as an instant.
pub(crate) fn millis_to_timestamp(length: Millis) -> Timestamp {
    let (seconds, nanos) = split(length.0);
    Timestamp { seconds, nanos }
}

fn whole_millis(seconds: i64, nanoseconds: i32) -> Result<Millis, Unfit> {
    let nanos = nanos(seconds, nanoseconds);
    if nanos % NANOS_PER_MILLI != 0 {
        return Err(Unfit::TooFine);
    }
    i64::try_from(nanos / NANOS_PER_MILLI).map(Millis).map_err(|_| Unfit::TooLong)
}

/// Cannot overflow: 2⁶³ seconds are below 2⁹³ nanoseconds.
fn nanos(seconds: i64, nanos: i32) -> i128 {
    i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos)
}

fn split(millis: i64) -> (i64, i32) {
    (millis.div_euclid(1000), sub_second_nanos(millis.rem_euclid(1000)))
}

fn sub_second_nanos(millis: i64) -> i32 {
    i32::try_from(millis * 1_000_000).expect("less than a second is less than 2³¹ nanoseconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn instant(seconds: i64, nanos: i32) -> EventTime {
        event_time_from_wire(&Timestamp { seconds, nanos })
    }

    #[test]
    fn the_model_has_the_bounds_that_beam_declares() {
        use crate::urns::beam_constants::constants;
        assert_eq!(EventTime::MIN.millis(), constants::MIN_TIMESTAMP_MILLIS);
        assert_eq!(EventTime::MAX.millis(), constants::MAX_TIMESTAMP_MILLIS);
        assert_eq!(EventTime::GLOBAL_WINDOW_MAX.millis(), constants::GLOBAL_WINDOW_MAX_TIMESTAMP_MILLIS);
    }

    #[test]
    fn instants_outside_the_legal_range_of_timestamp_are_read_from_their_parts() {
        // What Python sends for its least instant: MIN is −9223372036854.775 s.
        assert_eq!(instant(-9_223_372_036_855, 225_000_000), EventTime::MIN);
        assert_eq!(instant(9_223_372_036_854, 775_000_000), EventTime::MAX);
    }

    #[test]
    fn instants_outside_beams_range_are_moved_to_its_ends() {
        assert_eq!(instant(i64::MIN, i32::MIN), EventTime::MIN);
        assert_eq!(instant(i64::MAX, i32::MAX), EventTime::MAX);
        assert_eq!(instant(-9_223_372_036_855, 0), EventTime::MIN);
    }

    #[test]
    fn a_fraction_of_a_millisecond_rounds_down_before_the_epoch_too() {
        assert_eq!(instant(0, 1_999_999), EventTime::from_millis(1));
        assert_eq!(instant(-1, 999_999_999), EventTime::from_millis(-1));
        assert_eq!(instant(0, -1), EventTime::from_millis(-1));
    }

    #[test]
    fn lengths_are_exact_or_refused() {
        let length = |seconds, nanos| millis_from_duration(&Duration { seconds, nanos });
        assert_eq!(length(10, 0), Ok(Millis(10_000)));
        assert_eq!(length(-1, -500_000_000), Ok(Millis(-1_500)));
        assert_eq!(length(0, 333_333_000), Err(Unfit::TooFine));
        assert_eq!(length(i64::MAX, 0), Err(Unfit::TooLong));
    }

    proptest! {
        #[test]
        fn instants_round_trip(millis in EventTime::MIN.millis()..=EventTime::MAX.millis()) {
            let instant = EventTime::from_millis(millis);
            let wire = event_time_to_wire(instant);
            prop_assert!((0..1_000_000_000).contains(&wire.nanos));
            prop_assert_eq!(event_time_from_wire(&wire), instant);
        }

        #[test]
        fn lengths_round_trip(millis: i64) {
            let length = Millis(millis);
            prop_assert_eq!(millis_from_duration(&millis_to_duration(length)), Ok(length));
            prop_assert_eq!(millis_from_timestamp(&millis_to_timestamp(length)), Ok(length));
        }

        #[test]
        fn no_pair_of_numbers_panics(seconds: i64, nanos: i32) {
            let _ = instant(seconds, nanos);
            let _ = millis_from_duration(&Duration { seconds, nanos });
        }
    }
}
