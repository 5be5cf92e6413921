//! Panes: which firing of a window's trigger an element came from.

use crate::coder::varint::{read_varint, write_varint};

/// When a pane fired, relative to the watermark (the two timing bits of the pane byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaneTiming {
    /// Before the watermark passed the end of the window.
    Early,
    /// The first pane after the watermark passed the end of the window.
    OnTime,
    /// Any later pane.
    Late,
    /// Not the result of a firing.
    Unknown,
}

/// What Beam's SDKs show as `PaneInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaneInfo {
    /// Whether this is the first pane of its key and window.
    pub is_first: bool,
    /// Whether no further pane will follow.
    pub is_last: bool,
    /// When it fired.
    pub timing: PaneTiming,
    /// Counts the panes of a key and window from 0.
    pub index: i64,
    /// Counts the panes that are not early from 0; -1 for early ones.
    pub non_speculative_index: i64,
}

impl PaneInfo {
    /// The pane of an element that no trigger fired: `0f`.
    pub const NO_FIRING: Self =
        Self { is_first: true, is_last: true, timing: PaneTiming::Unknown, index: 0, non_speculative_index: 0 };

    /// The only pane of a window with the default trigger and no late data: `07`.
    pub const ON_TIME_AND_ONLY: Self =
        Self { is_first: true, is_last: true, timing: PaneTiming::OnTime, index: 0, non_speculative_index: 0 };

    /// Appends the canonical encoding: the shortest form that keeps both indices.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let timing = match self.timing {
            PaneTiming::Early => 0u8,
            PaneTiming::OnTime => 1,
            PaneTiming::Late => 2,
            PaneTiming::Unknown => 3,
        };
        let low = u8::from(self.is_first) | u8::from(self.is_last) << 1 | timing << 2;
        let implied = if self.timing == PaneTiming::Early { -1 } else { self.index };
        if self.timing != PaneTiming::Early && self.index == 0 && self.non_speculative_index == 0 {
            out.push(low);
        } else if self.non_speculative_index == implied {
            out.push(low | 0x10);
            write_varint(self.index, out);
        } else {
            out.push(low | 0x20);
            write_varint(self.index, out);
            write_varint(self.non_speculative_index, out);
        }
    }

    /// Reads one pane from the front of `bytes` and moves past it; `None` if it is cut short or malformed.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (&head, rest) = bytes.split_first()?;
        *bytes = rest;
        let timing = match head >> 2 & 3 {
            0 => PaneTiming::Early,
            1 => PaneTiming::OnTime,
            2 => PaneTiming::Late,
            _ => PaneTiming::Unknown,
        };
        let (index, non_speculative_index) = match head >> 4 {
            0 => (0, if timing == PaneTiming::Early { -1 } else { 0 }),
            1 => {
                let index = read_varint(bytes).ok()?;
                (index, if timing == PaneTiming::Early { -1 } else { index })
            }
            2 => (read_varint(bytes).ok()?, read_varint(bytes).ok()?),
            // Higher forms announce element metadata, which Purlin does not offer to SDKs.
            _ => return None,
        };
        Some(Self { is_first: head & 1 != 0, is_last: head & 2 != 0, timing, index, non_speculative_index })
    }

    /// Moves past one pane without looking at it; `None` as for [`decode`](Self::decode).
    #[inline]
    pub fn skip(bytes: &mut &[u8]) -> Option<()> {
        let (&head, rest) = bytes.split_first()?;
        *bytes = rest;
        for _ in 0..head >> 4 {
            read_varint(bytes).ok()?;
        }
        (head >> 4 <= 2).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pane(is_first: bool, is_last: bool, timing: PaneTiming, index: i64, non_speculative_index: i64) -> PaneInfo {
        PaneInfo { is_first, is_last, timing, index, non_speculative_index }
    }

    fn check(pane: PaneInfo, expected: &[u8]) {
        let mut out = Vec::new();
        pane.encode(&mut out);
        assert_eq!(out, expected, "{pane:?}");
        let mut rest = &out[..];
        assert_eq!(PaneInfo::decode(&mut rest), Some(pane));
        assert!(rest.is_empty());
    }

    #[test]
    fn panes_have_the_bytes_that_sdks_send() {
        check(PaneInfo::NO_FIRING, &[0x0f]);
        check(PaneInfo::ON_TIME_AND_ONLY, &[0x07]);
        check(pane(true, false, PaneTiming::Early, 0, -1), &[0x11, 0]);
        check(pane(false, false, PaneTiming::Early, 1, -1), &[0x10, 1]);
        check(pane(false, false, PaneTiming::OnTime, 2, 0), &[0x24, 2, 0]);
        check(pane(false, false, PaneTiming::Late, 1, 1), &[0x18, 1]);
        check(pane(false, true, PaneTiming::Late, 3, 1), &[0x2a, 3, 1]);
        // No SDK sends these, and yet they are read as they are written.
        check(pane(true, true, PaneTiming::Unknown, 5, 2), &[0x2f, 5, 2]);
        check(pane(true, false, PaneTiming::Early, 0, 0), &[0x21, 0, 0]);
    }

    proptest! {
        #[test]
        fn hostile_panes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let (mut decoded, mut skipped) = (&bytes[..], &bytes[..]);
            let ok = PaneInfo::decode(&mut decoded).is_some();
            prop_assert_eq!(PaneInfo::skip(&mut skipped).is_some(), ok);
            if ok {
                prop_assert_eq!(decoded.len(), skipped.len());
            }
        }
    }
}
