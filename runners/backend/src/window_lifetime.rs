//! How long windows live in a stage that keeps state of them, and which elements are too late for theirs.
//!
//! ```text
//!   ─── window ───│max── allowed lateness ──│expiry─│last firing ── its state is collected
//!                                           └ behind it: elements are dropped and counted
//! ```
//! Java's runners drop such elements in front of stateful DoFns too. The global window does not expire, nor does any window of
//! bounded input, where nothing is late: groupings drop nothing of it either. Does not know what is kept.

use bytes::Bytes;
use purlin_model::element::{Header, HeaderError, encode_window};
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};

/// How long the windows of a stage's input live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLifetime {
    /// How they stand in the input.
    pub windows: WindowCoder,
    /// How much later than a window's last instant its elements may come.
    pub allowed_lateness: Millis,
    /// Whether the input is bounded.
    pub bounded: bool,
}

impl WindowLifetime {
    /// Whether windows expire before the job ends.
    pub fn expire(&self) -> bool {
        self.windows != WindowCoder::Global && !self.bounded
    }

    /// The instant behind which a window is gone, if windows expire.
    pub fn expiry(&self, window: &BoundedWindow) -> EventTime {
        match window {
            BoundedWindow::Global => EventTime::MAX,
            BoundedWindow::Interval { .. } | BoundedWindow::Custom { .. } => {
                window.max_timestamp() + self.allowed_lateness
            }
        }
    }

    /// The last instant at which a timer of a window may fire, and behind which its state is collected. Python means the
    /// instant behind a window's last by its end, and sets timers for it that are to fire with the window; its own
    /// `GroupIntoBatches` does.
    pub fn last_firing(&self, window: &BoundedWindow) -> EventTime {
        self.expiry(window) + Millis(1)
    }
}

/// Lets the elements of a bundle into those of their windows that have not expired.
///
/// Law: an element is let into exactly the windows of its header that the watermark of the bundle is not behind, and the
/// others are counted.
#[derive(Debug)]
pub struct Admission {
    lifetime: WindowLifetime,
    watermark: EventTime,
    /// What was looked at last, behind the timestamp: most elements are in the windows of the one before.
    seen: Vec<u8>,
    windows: Vec<BoundedWindow>,
    left: Left,
    /// In how many windows such an element is too late.
    late: u64,
    dropped: u64,
}

/// What is left of a header.
#[derive(Debug)]
enum Left {
    All,
    /// It has been written anew; its timestamp is that of the element.
    Some(Vec<u8>),
    None,
}

/// A header's timestamp stands in front.
const TIMESTAMP_BYTES: usize = 8;

impl Admission {
    /// Of a bundle that was handed out at this watermark.
    pub fn new(lifetime: WindowLifetime, watermark: EventTime) -> Self {
        let (seen, windows) = (Vec::new(), Vec::new());
        Self { lifetime, watermark, seen, windows, left: Left::None, late: 0, dropped: 0 }
    }

    /// The header of an element without the windows that have expired, or `None` if all of them have. `expire` is told of
    /// windows that are let in, as they stand on the wire, and of the instant behind which their state is collected; not again
    /// as long as they stay the same.
    ///
    /// # Errors
    /// If it is no header.
    pub fn admit<'a>(
        &'a mut self,
        header: &'a [u8],
        expire: impl FnMut(Bytes, EventTime),
    ) -> Result<Option<&'a [u8]>, HeaderError> {
        let (timestamp, behind) = header.split_at_checked(TIMESTAMP_BYTES).unwrap_or((header, &[]));
        if self.seen.is_empty() || self.seen != behind {
            self.look(header, expire)?;
            self.seen.clear();
            self.seen.extend_from_slice(behind);
        }
        self.dropped += self.late;
        Ok(match &mut self.left {
            Left::All => Some(header),
            Left::Some(left) => {
                left[..TIMESTAMP_BYTES].copy_from_slice(timestamp);
                Some(left)
            }
            Left::None => None,
        })
    }

    /// The windows that the last element was let into.
    pub fn windows(&self) -> &[BoundedWindow] {
        &self.windows
    }

    /// How many elements were dropped so far, once for each window.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn look(&mut self, header: &[u8], mut expire: impl FnMut(Bytes, EventTime)) -> Result<(), HeaderError> {
        // Should it fail, what was seen before is not what is known.
        self.seen.clear();
        let Header { timestamp, mut windows, pane } = Header::decode(&mut &header[..], self.lifetime.windows)?;
        let count = windows.len();
        let expire_windows = self.lifetime.expire();
        windows.retain(|window| !expire_windows || self.watermark <= self.lifetime.expiry(window));
        for window in windows.iter().filter(|_| expire_windows) {
            let mut encoded = Vec::new();
            encode_window(window, &mut encoded);
            expire(encoded.into(), self.lifetime.last_firing(window));
        }
        self.late = (count - windows.len()) as u64;
        self.windows.clone_from(&windows);
        self.left = if windows.is_empty() {
            Left::None
        } else if windows.len() == count {
            Left::All
        } else {
            let mut left = Vec::new();
            Header { timestamp, windows, pane }.encode(&mut left);
            Left::Some(left)
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_model::pane::PaneInfo;

    const LIFETIME: WindowLifetime =
        WindowLifetime { windows: WindowCoder::Interval, allowed_lateness: Millis(5), bounded: false };

    fn interval(end: i64) -> BoundedWindow {
        BoundedWindow::Interval { start: EventTime::from_millis(end - 10), end: EventTime::from_millis(end) }
    }

    fn header(timestamp: i64, windows: Vec<BoundedWindow>) -> Vec<u8> {
        let mut header = Vec::new();
        let timestamp = EventTime::from_millis(timestamp);
        Header { timestamp, windows, pane: PaneInfo::NO_FIRING }.encode(&mut header);
        header
    }

    fn in_windows(timestamp: i64, ends: &[i64]) -> Vec<u8> {
        header(timestamp, ends.iter().map(|end| interval(*end)).collect())
    }

    #[test]
    fn elements_are_in_the_windows_that_have_not_expired() {
        let check = |watermark: i64, ends: &[i64], left: &[i64]| {
            let mut admission = Admission::new(LIFETIME, EventTime::from_millis(watermark));
            let mut collected = Vec::new();
            for timestamp in [1, 2, 2] {
                let written = in_windows(timestamp, ends);
                let admitted = admission.admit(&written, |_, behind| collected.push(behind.millis())).unwrap();
                assert_eq!(admitted, (!left.is_empty()).then(|| in_windows(timestamp, left)).as_deref());
            }
            assert_eq!(admission.windows(), left.iter().map(|end| interval(*end)).collect::<Vec<_>>());
            assert_eq!(admission.dropped(), 3 * (ends.len() - left.len()) as u64, "{watermark} {ends:?}");
            // The last instant of its lateness, and what Python calls the end; told once.
            assert_eq!(collected, left.iter().map(|end| end - 1 + 5 + 1).collect::<Vec<_>>());
        };
        check(14, &[10], &[10]);
        check(15, &[10], &[]);
        check(15, &[10, 15, 20], &[15, 20]);
    }

    #[test]
    fn what_differs_from_the_element_before_is_looked_at() {
        let mut admission = Admission::new(LIFETIME, EventTime::from_millis(15));
        let admitted = [10, 20, 10].map(|end| admission.admit(&in_windows(1, &[end]), |_, _| {}).unwrap().is_some());
        assert_eq!((admitted, admission.dropped()), ([false, true, false], 2));
        assert!(admission.admit(&[0; 11], |_, _| {}).is_err());
        assert!(admission.admit(&[0; 11], |_, _| {}).is_err(), "nor is it taken for what came before");
    }

    #[test]
    fn the_global_window_does_not_expire_nor_does_any_of_bounded_input() {
        let check = |lifetime: WindowLifetime, window: BoundedWindow| {
            assert!(!lifetime.expire());
            let mut admission = Admission::new(lifetime, EventTime::GLOBAL_WINDOW_MAX);
            let written = header(1, vec![window]);
            let admitted = admission.admit(&written, |_, _| panic!("it does not expire")).unwrap();
            assert_eq!(admitted, Some(&written[..]));
        };
        check(WindowLifetime { windows: WindowCoder::Global, ..LIFETIME }, BoundedWindow::Global);
        check(WindowLifetime { bounded: true, ..LIFETIME }, interval(10));
    }
}
