//! Elements that were combined in slices of their windows, on their way to the windows themselves.

use std::sync::Arc;

use purlin_model::element::Header;
use purlin_model::slices::SlicedWindows;
use purlin_model::window::WindowCoder;

use crate::data::WriteError;

/// Turns headers with slices into headers with windows. Remembers the last one: most elements repeat it.
#[derive(Debug)]
pub(super) struct Sliced {
    of: SlicedWindows,
    seen: Vec<u8>,
    made: Vec<u8>,
}

impl Sliced {
    pub(super) fn new(of: SlicedWindows) -> Self {
        Self { of, seen: Vec::new(), made: Vec::new() }
    }

    /// The header of an element in all windows that hold its slices.
    ///
    /// # Errors
    /// If it cannot be read, or stands in what is no slice.
    pub(super) fn header(&mut self, header: &[u8], coder: WindowCoder, output: &Arc<str>) -> Result<&[u8], WriteError> {
        if self.seen != header {
            let mut read = Header::decode(&mut &header[..], coder)
                .map_err(|source| WriteError::Window { output: output.clone(), source })?;
            let mut windows = Vec::new();
            for slice in &read.windows {
                let Some(holding) = self.of.windows_of(slice) else {
                    return Err(WriteError::Slice { output: output.clone(), window: format!("{slice:?}") });
                };
                windows.extend(holding);
            }
            read.windows = windows;
            self.made.clear();
            read.encode(&mut self.made);
            self.seen.clear();
            self.seen.extend_from_slice(header);
        }
        Ok(&self.made)
    }
}

#[cfg(test)]
mod tests {
    use purlin_model::pane::PaneInfo;
    use purlin_model::time::{EventTime, Millis};
    use purlin_model::window::{BoundedWindow, WindowFn};

    use super::*;

    fn encoded(windows: Vec<BoundedWindow>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Header { timestamp: EventTime::from_millis(5), windows, pane: PaneInfo::NO_FIRING }.encode(&mut bytes);
        bytes
    }

    fn interval(start: i64, end: i64) -> BoundedWindow {
        BoundedWindow::Interval { start: EventTime::from_millis(start), end: EventTime::from_millis(end) }
    }

    #[test]
    fn a_slice_becomes_the_windows_that_hold_it() {
        let window_fn = WindowFn::Sliding { size: Millis(20), period: Millis(10), offset: Millis(0) };
        let mut sliced = Sliced::new(SlicedWindows::of(&window_fn).expect("they overlap"));
        let name: Arc<str> = "sums".into();
        for at in [0, 10, 10, 0] {
            let windows = encoded(vec![interval(at - 10, at + 10), interval(at, at + 20)]);
            assert_eq!(
                sliced.header(&encoded(vec![interval(at, at + 10)]), WindowCoder::Interval, &name),
                Ok(&windows[..])
            );
        }
        let refused = sliced.header(&encoded(vec![interval(0, 20)]), WindowCoder::Interval, &name);
        let why = "output `sums` holds an element in [0,20), which is no slice of its windows; the SDK assigned windows that nobody asked for";
        assert_eq!(refused.unwrap_err().to_string(), why);
    }
}
