//! The windows seen, numbered; remembers the header seen last, because most elements repeat it.

use std::collections::BTreeMap;

use purlin_model::element::{Header, HeaderError};
use purlin_model::time::EventTime;
use purlin_model::window::{BoundedWindow, WindowCoder};

pub(super) struct WindowTable {
    windows: Vec<BoundedWindow>,
    numbers: BTreeMap<BoundedWindow, u32>,
    header: Vec<u8>,
    /// The windows of that header, by number.
    pub(super) current: Vec<u32>,
    /// The timestamp of that header.
    pub(super) timestamp: EventTime,
}

impl WindowTable {
    pub(super) fn new() -> Self {
        Self {
            windows: Vec::new(),
            numbers: BTreeMap::new(),
            header: Vec::new(),
            current: Vec::new(),
            timestamp: EventTime::MIN,
        }
    }

    /// Makes `current` and `timestamp` those of this header; tells whether it is another one than before.
    #[inline]
    pub(super) fn read(&mut self, header: &[u8], coder: WindowCoder) -> Result<bool, HeaderError> {
        if self.header == header {
            return Ok(false);
        }
        let read = Header::decode(&mut &header[..], coder)?;
        self.header.clear();
        self.header.extend_from_slice(header);
        self.timestamp = read.timestamp;
        self.current.clear();
        for window in read.windows {
            let number = self.number(window);
            self.current.push(number);
        }
        Ok(true)
    }

    /// The number of a window, the same one each time.
    pub(super) fn number(&mut self, window: BoundedWindow) -> u32 {
        let next = self.windows.len() as u32;
        let windows = &mut self.windows;
        *self.numbers.entry(window).or_insert_with_key(|window| {
            windows.push(window.clone());
            next
        })
    }

    pub(super) fn window(&self, number: u32) -> &BoundedWindow {
        &self.windows[number as usize]
    }

    /// By number: the place of each window in the order in which groups come out, earliest end first.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.windows.len() as u32).collect();
        order.sort_by(|a, b| {
            let (a, b) = (self.window(*a), self.window(*b));
            a.max_timestamp().cmp(&b.max_timestamp()).then_with(|| a.cmp(b))
        });
        let mut ranks = vec![0; order.len()];
        for (rank, number) in order.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        ranks
    }
}
