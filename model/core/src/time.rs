//! Instants: event time (what the data says) and processing time (what the clock says).
//!
//! Two types, so that mixing them does not compile. Both count milliseconds since the Unix epoch, which is
//! what Beam puts on the wire.

use std::fmt;
use std::ops::{Add, Sub};

/// A length of time in milliseconds; never negative where Beam asks for a size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// An instant in event time, in milliseconds since the epoch. Beam's range is [`EventTime::MIN`] to
/// [`EventTime::MAX`] (`BeamConstants` in `beam_runner_api.proto`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// `MIN_TIMESTAMP_MILLIS`.
    pub const MIN: Self = Self(-9_223_372_036_854_775);
    /// `MAX_TIMESTAMP_MILLIS`.
    pub const MAX: Self = Self(9_223_372_036_854_775);
    /// `GLOBAL_WINDOW_MAX_TIMESTAMP_MILLIS`, as Java and Go know it.
    pub const GLOBAL_WINDOW_MAX: Self = Self(9_223_371_950_454_775);
    /// The same instant as Python emits it, which rounds it down to what its microseconds can hold.
    pub const GLOBAL_WINDOW_MAX_PYTHON: Self = Self(9_223_371_950_454_774);

    /// The instant, moved into Beam's range if it lies outside.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Eight bytes, big endian, sign bit flipped, so that bytes sort as instants do.
    pub const fn to_wire(self) -> [u8; 8] {
        ((self.0 as u64) ^ (1 << 63)).to_be_bytes()
    }

    /// Reads [`to_wire`](Self::to_wire); `None` if the instant lies outside Beam's range.
    pub const fn from_wire(bytes: [u8; 8]) -> Option<Self> {
        let millis = (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64;
        if millis < Self::MIN.0 || millis > Self::MAX.0 { None } else { Some(Self(millis)) }
    }
}

impl Add<Millis> for EventTime {
    type Output = Self;
    /// Saturates at the ends of Beam's range.
    fn add(self, length: Millis) -> Self {
        Self::from_millis(self.0.saturating_add(length.0))
    }
}

impl Sub<Millis> for EventTime {
    type Output = Self;
    /// Saturates at the ends of Beam's range.
    fn sub(self, length: Millis) -> Self {
        Self::from_millis(self.0.saturating_sub(length.0))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("MIN"),
            Self::MAX => f.write_str("MAX"),
            Self::GLOBAL_WINDOW_MAX | Self::GLOBAL_WINDOW_MAX_PYTHON => f.write_str("GLOBAL_MAX"),
            Self(millis) => write!(f, "{millis}"),
        }
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{self}")
    }
}

/// An instant of the job's clock, real or simulated, in milliseconds since the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProcessingTime(pub i64);

impl Add<Millis> for ProcessingTime {
    type Output = Self;
    fn add(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub for ProcessingTime {
    type Output = Millis;
    fn sub(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for ProcessingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries_have_the_bytes_that_sdks_send() {
        assert_eq!(EventTime::MIN.to_wire(), [0x7f, 0xdf, 0x3b, 0x64, 0x5a, 0x1c, 0xac, 0x09]);
        assert_eq!(EventTime::MAX.to_wire(), [0x80, 0x20, 0xc4, 0x9b, 0xa5, 0xe3, 0x53, 0xf7]);
        assert_eq!(EventTime::GLOBAL_WINDOW_MAX.to_wire(), [0x80, 0x20, 0xc4, 0x9b, 0xa0, 0xbc, 0xf7, 0xf7]);
        assert_eq!(EventTime::from_millis(0).to_wire(), [0x80, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn instants_outside_the_range_are_refused_from_the_wire_and_clamped_in_arithmetic() {
        assert_eq!(EventTime::from_wire([0xff; 8]), None);
        assert_eq!(EventTime::from_wire([0; 8]), None);
        assert_eq!(EventTime::MAX + Millis(1), EventTime::MAX);
        assert_eq!(EventTime::MIN - Millis(i64::MAX), EventTime::MIN);
    }

    proptest! {
        #[test]
        fn bytes_sort_as_instants_do(a in EventTime::MIN.millis()..=EventTime::MAX.millis(), b in EventTime::MIN.millis()..=EventTime::MAX.millis()) {
            let (a, b) = (EventTime::from_millis(a), EventTime::from_millis(b));
            prop_assert_eq!(a.cmp(&b), a.to_wire().cmp(&b.to_wire()));
            prop_assert_eq!(EventTime::from_wire(a.to_wire()), Some(a));
        }
    }
}
