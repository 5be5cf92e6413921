//! Window functions: a `FunctionSpec` with a URN of `standard_window_fns.proto`, or any other.
//!
//! ```text
//!   FunctionSpec { urn, payload } ◄──► WindowFn::{Global, Fixed, Sliding, Session, Custom}
//! ```
//!
//! A URN that Beam does not declare is no fault: it becomes [`WindowFn::Custom`], which only its SDK can run. The same
//! happens to a standard function whose bounds are finer than a millisecond (Python allows microseconds): the model
//! counts milliseconds, and the SDK that made it still runs it exactly. Does not know strategies.

use bytes::Bytes;
use prost::{Message, Name};
use prost_types::{Duration, Timestamp};
use purlin_model::time::Millis;
use purlin_model::window::WindowFn;

use super::problem::{Fault, Path, Problems};
use super::timestamp::{Unfit, millis_from_duration, millis_from_timestamp, millis_to_duration, millis_to_timestamp};
use crate::pipeline::v1 as pb;
use crate::urns;

const POSITIVE: &str = "longer than zero";

/// Reads a window function.
pub fn from_wire(wire: &pb::FunctionSpec, at: &Path<'_>, problems: &mut Problems) -> Option<WindowFn> {
    let bounds_at = at.field("payload");
    let mut bounds = Bounds { at: &bounds_at, problems, too_fine: false, faulty: false };
    let standard = match wire.urn.as_str() {
        "" => {
            bounds.problems.report(&at.field("urn"), Fault::Missing { expected: "the URN of a window function" });
            return None;
        }
        urns::global_windows_payload::PROPERTIES => return Some(WindowFn::Global),
        urns::fixed_windows_payload::PROPERTIES => {
            let payload: pb::FixedWindowsPayload = bounds.decode(&wire.payload)?;
            let size = bounds.length("size", payload.size);
            let offset = bounds.offset("offset", payload.offset);
            size.zip(offset).map(|(size, offset)| WindowFn::Fixed { size, offset })
        }
        urns::sliding_windows_payload::PROPERTIES => {
            let payload: pb::SlidingWindowsPayload = bounds.decode(&wire.payload)?;
            let size = bounds.length("size", payload.size);
            let offset = bounds.offset("offset", payload.offset);
            let period = bounds.length("period", payload.period);
            let all = size.zip(offset).zip(period);
            all.map(|((size, offset), period)| WindowFn::Sliding { size, period, offset })
        }
        urns::session_windows_payload::PROPERTIES => {
            let payload: pb::SessionWindowsPayload = bounds.decode(&wire.payload)?;
            bounds.length("gap_size", payload.gap_size).map(|gap| WindowFn::Session { gap })
        }
        _ => return Some(custom(wire)),
    };
    // A bound that is too fine is no fault, but there is no standard value for it either.
    if bounds.too_fine && !bounds.faulty { Some(custom(wire)) } else { standard }
}

/// Reads the window function of a `beam:transform:window_into:v1` payload.
///
/// Java and Go send a `WindowIntoPayload`, Python a whole `WindowingStrategy`; both hold the function in field 1, so
/// that either is read as the former.
pub fn from_window_into(payload: &Bytes, at: &Path<'_>, problems: &mut Problems) -> Option<WindowFn> {
    let message = pb::WindowIntoPayload::NAME;
    match pb::WindowIntoPayload::decode(payload.clone()) {
        Ok(pb::WindowIntoPayload { window_fn: Some(window_fn) }) => {
            from_wire(&window_fn, &at.field("window_fn"), problems)
        }
        Ok(pb::WindowIntoPayload { window_fn: None }) => {
            problems.report(&at.field("window_fn"), Fault::Missing { expected: "a window function" });
            None
        }
        Err(error) => {
            problems.report(at, Fault::Malformed { message, reason: error.to_string() });
            None
        }
    }
}

/// Writes a window function; [`from_wire`] reads it back.
pub fn to_wire(window_fn: &WindowFn) -> pb::FunctionSpec {
    let spec = |urn: &str, payload: Vec<u8>| pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() };
    match window_fn {
        WindowFn::Global => spec(urns::global_windows_payload::PROPERTIES, Vec::new()),
        WindowFn::Fixed { size, offset } => {
            let payload = pb::FixedWindowsPayload {
                size: Some(millis_to_duration(*size)),
                offset: Some(millis_to_timestamp(*offset)),
            };
            spec(urns::fixed_windows_payload::PROPERTIES, payload.encode_to_vec())
        }
        WindowFn::Sliding { size, period, offset } => {
            let payload = pb::SlidingWindowsPayload {
                size: Some(millis_to_duration(*size)),
                offset: Some(millis_to_timestamp(*offset)),
                period: Some(millis_to_duration(*period)),
            };
            spec(urns::sliding_windows_payload::PROPERTIES, payload.encode_to_vec())
        }
        WindowFn::Session { gap } => {
            let payload = pb::SessionWindowsPayload { gap_size: Some(millis_to_duration(*gap)) };
            spec(urns::session_windows_payload::PROPERTIES, payload.encode_to_vec())
        }
        WindowFn::Custom { urn, payload } => pb::FunctionSpec { urn: urn.clone(), payload: payload.clone() },
    }
}

fn custom(wire: &pb::FunctionSpec) -> WindowFn {
    WindowFn::Custom { urn: wire.urn.clone(), payload: wire.payload.clone() }
}

/// Reads the bounds of one standard function, all of them, whatever is wrong with the first.
struct Bounds<'a> {
    at: &'a Path<'a>,
    problems: &'a mut Problems,
    too_fine: bool,
    faulty: bool,
}

impl Bounds<'_> {
    fn decode<M: Message + Name + Default>(&mut self, payload: &Bytes) -> Option<M> {
        let malformed = |error: prost::DecodeError| Fault::Malformed { message: M::NAME, reason: error.to_string() };
        M::decode(payload.clone()).map_err(|error| self.problems.report(self.at, malformed(error))).ok()
    }

    fn length(&mut self, name: &'static str, wire: Option<Duration>) -> Option<Millis> {
        let Some(wire) = wire else {
            self.report(name, Fault::Missing { expected: "a duration" });
            return None;
        };
        if (wire.seconds, wire.nanos) <= (0, 0) {
            self.out_of_range(name, wire.seconds, wire.nanos, POSITIVE);
            return None;
        }
        self.fit(name, wire.seconds, wire.nanos, millis_from_duration(&wire))
    }

    /// An offset that is not set is the epoch itself.
    fn offset(&mut self, name: &'static str, wire: Option<Timestamp>) -> Option<Millis> {
        let wire = wire.unwrap_or_default();
        self.fit(name, wire.seconds, wire.nanos, millis_from_timestamp(&wire))
    }

    fn fit(&mut self, name: &'static str, seconds: i64, nanos: i32, millis: Result<Millis, Unfit>) -> Option<Millis> {
        match millis {
            Ok(millis) => return Some(millis),
            Err(Unfit::TooFine) => self.too_fine = true,
            Err(Unfit::TooLong) => self.out_of_range(name, seconds, nanos, "less than 2^63 milliseconds"),
        }
        None
    }

    fn out_of_range(&mut self, name: &'static str, seconds: i64, nanos: i32, expected: &'static str) {
        let value = format!("{seconds} s and {nanos} ns");
        self.report(name, Fault::OutOfRange { value, expected });
    }

    fn report(&mut self, name: &'static str, fault: Fault) {
        self.faulty = true;
        self.problems.report(&self.at.field(name), fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(urn: &str, payload: Vec<u8>) -> (Option<WindowFn>, String) {
        let (mut problems, wire) = (Problems::new(), pb::FunctionSpec { urn: urn.to_owned(), payload: payload.into() });
        let window_fn = from_wire(&wire, &Path::root("window_fn"), &mut problems);
        assert_eq!(window_fn.is_none(), !problems.is_empty(), "None exactly when something was reported");
        (window_fn, problems.to_string())
    }

    fn duration(seconds: i64, nanos: i32) -> Option<Duration> {
        Some(Duration { seconds, nanos })
    }

    #[test]
    fn every_kind_is_read_back() {
        for window_fn in [
            WindowFn::Global,
            WindowFn::Fixed { size: Millis(10_000), offset: Millis(-3) },
            WindowFn::Sliding { size: Millis(1), period: Millis(7), offset: Millis(0) },
            WindowFn::Session { gap: Millis(i64::MAX) },
            WindowFn::Custom { urn: "beam:window_fn:pickled_python:v1".into(), payload: Bytes::from_static(&[0xff]) },
        ] {
            let mut problems = Problems::new();
            assert_eq!(from_wire(&to_wire(&window_fn), &Path::root("it"), &mut problems), Some(window_fn));
            assert!(problems.is_empty());
        }
    }

    #[test]
    fn every_wrong_bound_is_told() {
        let payload = pb::SlidingWindowsPayload { size: None, offset: None, period: duration(0, -1) };
        let (_, problems) = read(urns::sliding_windows_payload::PROPERTIES, payload.encode_to_vec());
        assert_eq!(
            problems,
            "window_fn.payload.size is not set; send a duration\n\
             window_fn.payload.period is 0 s and -1 ns; it must be longer than zero"
        );
        let payload = pb::SessionWindowsPayload { gap_size: duration(i64::MAX, 0) };
        let (_, problems) = read(urns::session_windows_payload::PROPERTIES, payload.encode_to_vec());
        assert_eq!(
            problems,
            "window_fn.payload.gap_size is 9223372036854775807 s and 0 ns; it must be less than 2^63 milliseconds"
        );
    }

    #[test]
    fn garbage_is_told_as_such() {
        let (_, problems) = read(urns::fixed_windows_payload::PROPERTIES, vec![0xff; 3]);
        assert!(problems.starts_with("window_fn.payload is not a valid FixedWindowsPayload: "), "{problems}");
        assert_eq!(read("", Vec::new()).1, "window_fn.urn is not set; send the URN of a window function");
    }

    #[test]
    fn microsecond_bounds_are_left_to_the_sdk() {
        let payload = pb::FixedWindowsPayload { size: duration(0, 333_333_000), offset: None }.encode_to_vec();
        let urn = urns::fixed_windows_payload::PROPERTIES;
        let (window_fn, _) = read(urn, payload.clone());
        let custom = WindowFn::Custom { urn: urn.to_owned(), payload: payload.into() };
        assert_eq!(window_fn.as_ref(), Some(&custom));

        let mut problems = Problems::new();
        problems.report(&Path::root("another"), Fault::TooDeep { max: 1 });
        let read_after_a_problem = from_wire(&to_wire(&custom), &Path::root("window_fn"), &mut problems);
        assert_eq!(read_after_a_problem, Some(custom));
    }

    #[test]
    fn a_fine_bound_does_not_hide_a_wrong_one() {
        let payload = pb::SlidingWindowsPayload { size: duration(0, 1), offset: None, period: None };
        let (_, problems) = read(urns::sliding_windows_payload::PROPERTIES, payload.encode_to_vec());
        assert_eq!(problems, "window_fn.payload.period is not set; send a duration");
    }

    #[test]
    fn a_window_into_payload_is_read_in_either_form() {
        let window_fn = WindowFn::Fixed { size: Millis(1000), offset: Millis(0) };
        let java = pb::WindowIntoPayload { window_fn: Some(to_wire(&window_fn)) };
        let python = pb::WindowingStrategy {
            window_fn: Some(to_wire(&window_fn)),
            window_coder_id: "c".to_owned(),
            merge_status: 1,
            environment_id: "e".to_owned(),
            ..Default::default()
        };
        for payload in [java.encode_to_vec(), python.encode_to_vec()] {
            let mut problems = Problems::new();
            let read = from_window_into(&payload.into(), &Path::root("payload"), &mut problems);
            assert_eq!(read.as_ref(), Some(&window_fn));
        }
        let mut problems = Problems::new();
        assert_eq!(from_window_into(&Bytes::new(), &Path::root("payload"), &mut problems), None);
        assert_eq!(problems.to_string(), "payload.window_fn is not set; send a window function");
    }
}
