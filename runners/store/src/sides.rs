//! Side inputs in memory: per window a list of values, and for multimaps a list per key.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use purlin_engine::core::stage::{JobGraph, SideAccess, SideId};
use purlin_engine::data::ElementBatch;
use purlin_engine::store::{SidePage, SideStore, StoreError};
use purlin_model::element::Header;
use purlin_model::window::BoundedWindow;

/// A page holds whole elements up to about this much; a larger element is a page of its own.
const PAGE_BYTES: usize = 1 << 20;

/// Keeps side inputs in memory for the length of the job.
#[derive(Debug)]
pub struct MemorySideStore {
    graph: Arc<JobGraph>,
    windows: RwLock<BTreeMap<(SideId, BoundedWindow), SideWindow>>,
}

#[derive(Debug)]
enum SideWindow {
    Iterable(Vec<Bytes>),
    /// By the key's nested encoding.
    Multimap(BTreeMap<Bytes, Vec<Bytes>>),
}

impl MemorySideStore {
    /// An empty store for the side inputs of this job.
    pub fn new(graph: Arc<JobGraph>) -> Self {
        Self { graph, windows: RwLock::default() }
    }

    fn read(
        &self,
        side: SideId,
        window: &BoundedWindow,
        from: u64,
        values: impl FnOnce(&SideWindow) -> Vec<Bytes>,
    ) -> SidePage {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner);
        // Values are shared, not copied, so that the lock is held for pointers only.
        let values = windows.get(&(side, window.clone())).map(values).unwrap_or_default();
        drop(windows);
        page(&values, from)
    }
}

/// The page that begins at the value with this number.
fn page(values: &[Bytes], from: u64) -> SidePage {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(values.len());
    let mut bytes = 0;
    let mut until = from;
    for value in &values[from..] {
        if until > from && bytes + value.len() > PAGE_BYTES {
            break;
        }
        bytes += value.len();
        until += 1;
    }
    let mut data = BytesMut::with_capacity(bytes);
    for value in &values[from..until] {
        data.extend_from_slice(value);
    }
    SidePage { data: data.freeze(), next: (until < values.len()).then_some(until as u64) }
}

impl SideStore for MemorySideStore {
    fn append(&self, side: SideId, batch: &ElementBatch, first: usize, last: usize) -> Result<(), StoreError> {
        let spec = self.graph.side(side);
        let broken = |why: String| StoreError::Io { doing: format!("keep an element of {side}"), why };
        let mut windows = self.windows.write().unwrap_or_else(PoisonError::into_inner);
        for index in first..last {
            let element = batch.get(index);
            let header =
                Header::decode(&mut &element.header[..], spec.windows).map_err(|why| broken(why.to_string()))?;
            let value = batch.value_bytes(index);
            for window in header.windows {
                match spec.access {
                    SideAccess::Iterable => {
                        let entry = windows.entry((side, window)).or_insert_with(|| SideWindow::Iterable(Vec::new()));
                        if let SideWindow::Iterable(values) = entry {
                            values.push(value.clone());
                        }
                    }
                    SideAccess::Multimap => {
                        let key = spec.coder.key_of(&value).map_err(|why| broken(why.to_string()))?.len();
                        let entry =
                            windows.entry((side, window)).or_insert_with(|| SideWindow::Multimap(BTreeMap::new()));
                        if let SideWindow::Multimap(keys) = entry {
                            keys.entry(value.slice(..key)).or_default().push(value.slice(key..));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn read_iterable(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        Ok(self.read(side, window, from, |entry| match entry {
            SideWindow::Iterable(values) => values.clone(),
            SideWindow::Multimap(_) => Vec::new(),
        }))
    }

    fn read_multimap(
        &self,
        side: SideId,
        window: &BoundedWindow,
        key: &[u8],
        from: u64,
    ) -> Result<SidePage, StoreError> {
        Ok(self.read(side, window, from, |entry| match entry {
            SideWindow::Iterable(_) => Vec::new(),
            SideWindow::Multimap(keys) => keys.get(key).cloned().unwrap_or_default(),
        }))
    }

    fn read_keys(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        Ok(self.read(side, window, from, |entry| match entry {
            SideWindow::Iterable(_) => Vec::new(),
            SideWindow::Multimap(keys) => keys.keys().cloned().collect(),
        }))
    }

    fn read_entries(&self, side: SideId, window: &BoundedWindow, from: u64) -> Result<SidePage, StoreError> {
        let windows = self.windows.read().unwrap_or_else(PoisonError::into_inner);
        let Some(SideWindow::Multimap(keys)) = windows.get(&(side, window.clone())) else {
            return Ok(SidePage::default());
        };
        let (mut data, mut until) = (BytesMut::new(), from);
        for (key, values) in keys.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            let length = key.len() + 4 + values.iter().map(Bytes::len).sum::<usize>();
            if until > from && data.len() + length > PAGE_BYTES {
                return Ok(SidePage { data: data.freeze(), next: Some(until) });
            }
            let count = i32::try_from(values.len()).map_err(|_| StoreError::Io {
                doing: format!("read an entry of {side}"),
                why: "one key has more values than an iterable can count".to_owned(),
            })?;
            data.reserve(length);
            data.extend_from_slice(key);
            data.extend_from_slice(&count.to_be_bytes());
            values.iter().for_each(|value| data.extend_from_slice(value));
            until += 1;
        }
        Ok(SidePage { data: data.freeze(), next: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_engine::core::stage::JobGraphBuilder;
    use purlin_engine::data::ElementBatchBuilder;
    use purlin_model::coder::Coder;
    use purlin_model::pane::PaneInfo;
    use purlin_model::time::EventTime;
    use purlin_model::window::{WindowCoder, WindowFn};

    fn store(coder: Coder, access: SideAccess) -> (MemorySideStore, SideId) {
        let mut job = JobGraphBuilder::new();
        let env = job.environment();
        let impulse = job.impulse("impulse");
        let values = job.worker("values", env, &[impulse], coder, WindowCoder::Global);
        let side = job.side_input("side", &[values], access, WindowFn::Global);
        (MemorySideStore::new(Arc::new(job.build())), side)
    }

    fn batch(values: &[&[u8]]) -> ElementBatch {
        let mut header = Vec::new();
        Header::new(EventTime::MIN, BoundedWindow::Global, PaneInfo::NO_FIRING).encode(&mut header);
        let mut builder = ElementBatchBuilder::new();
        for value in values {
            builder.push(&header, EventTime::MIN, value);
        }
        builder.finish()
    }

    #[test]
    fn pages_hold_whole_elements_and_end() {
        let (store, side) = store(Coder::Bytes, SideAccess::Iterable);
        let large = vec![7u8; PAGE_BYTES + 1];
        store.append(side, &batch(&[b"\x01a", &large, b"\x01b", b"\x01c"]), 0, 4).unwrap();
        let mut sizes = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let page = store.read_iterable(side, &BoundedWindow::Global, at).unwrap();
            sizes.push(page.data.len());
            from = page.next;
        }
        assert_eq!(sizes, [2, PAGE_BYTES + 1, 4]);
    }

    #[test]
    fn pages_of_entries_hold_whole_ones() {
        let (store, side) = store(Coder::kv(Coder::VarInt, Coder::Bytes), SideAccess::Multimap);
        let value = |key: u8| [&[key, 0x80, 0x80, 0x30][..], &vec![key; 0xc_0000]].concat();
        store.append(side, &batch(&[&value(1), &value(2), &value(1), &value(3)]), 0, 4).unwrap();
        let mut sizes = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let page = store.read_entries(side, &BoundedWindow::Global, at).unwrap();
            sizes.push(page.data.len());
            from = page.next;
        }
        assert_eq!(sizes, [2 * 0xc_0003 + 5, 0xc_0003 + 5, 0xc_0003 + 5]);
    }

    #[test]
    fn an_empty_window_is_empty_and_not_an_error() {
        let (store, side) = store(Coder::Bytes, SideAccess::Iterable);
        assert_eq!(store.read_iterable(side, &BoundedWindow::Global, 0), Ok(SidePage::default()));
        assert_eq!(store.read_iterable(side, &BoundedWindow::Global, u64::MAX), Ok(SidePage::default()));
    }

    #[test]
    fn a_multimap_is_read_by_key() {
        let (store, side) = store(Coder::kv(Coder::Bytes, Coder::VarInt), SideAccess::Multimap);
        store.append(side, &batch(&[b"\x01a\x01", b"\x01b\x02", b"\x01a\x03"]), 0, 3).unwrap();
        let values = store.read_multimap(side, &BoundedWindow::Global, b"\x01a", 0).unwrap();
        assert_eq!(&values.data[..], b"\x01\x03");
        assert_eq!(&store.read_keys(side, &BoundedWindow::Global, 0).unwrap().data[..], b"\x01a\x01b");
        let entries = store.read_entries(side, &BoundedWindow::Global, 0).unwrap();
        assert_eq!(&entries.data[..], b"\x01a\0\0\0\x02\x01\x03\x01b\0\0\0\x01\x02");
        assert_eq!(store.read_entries(side, &BoundedWindow::Global, u64::MAX), Ok(SidePage::default()));
        assert_eq!(store.read_multimap(side, &BoundedWindow::Global, b"\x01z", 0), Ok(SidePage::default()));
    }
}
