//! A simulated worker: what it makes of a bundle, through the same batches, lanes and state as any executor.

use bytes::Bytes;
use purlin_engine::core::stage::{OutputId, SideId};
use purlin_engine::data::{BatchId, BatchRef, BatchSlice, LaneWriter};
use purlin_engine::store::{BatchStore, Cell, DueBound, Page, SideView, StateView, Timer, TimerDomain};
use purlin_model::coder::varint::{read_varint, write_varint};
use purlin_model::element::{Header, decode_window, encode_window};
use purlin_model::pane::{PaneInfo, PaneTiming};
use purlin_model::time::{EventTime, Millis};
use purlin_model::window::{BoundedWindow, WindowCoder};

use crate::plan::windows_of;
use crate::program::{Does, Element, Node, Program, in_order, sourced};

/// The front of an element on the wire.
pub(crate) fn header(element: &Element) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What is late is marked by a pane that nothing here has otherwise.
    let timing = if element.late { PaneTiming::Early } else { PaneTiming::Unknown };
    let pane = PaneInfo { timing, ..PaneInfo::NO_FIRING };
    Header { timestamp: element.timestamp, windows: element.windows.clone(), pane }.encode(&mut bytes);
    bytes
}

/// The value of an element on the wire.
pub(crate) fn value(element: &Element, grouped: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_varint(element.key, &mut bytes);
    if grouped {
        bytes.extend_from_slice(&(element.values.len() as i32).to_be_bytes());
    }
    element.values.iter().for_each(|value| write_varint(*value, &mut bytes));
    bytes
}

pub(crate) fn number(bytes: &mut &[u8]) -> i64 {
    read_varint(bytes).expect("the simulation writes numbers")
}

fn values(bytes: &mut &[u8], grouped: bool) -> Vec<i64> {
    if !grouped {
        return vec![number(bytes)];
    }
    let (count, rest) = bytes.split_first_chunk::<4>().expect("groups begin with a count");
    *bytes = rest;
    (0..i32::from_be_bytes(*count)).map(|_| number(bytes)).collect()
}

/// The elements of some slices of one collection.
pub(crate) fn read(store: &dyn BatchStore, slices: &[BatchSlice], grouped: bool, windows: WindowCoder) -> Vec<Element> {
    let mut elements = Vec::new();
    for slice in slices {
        let batch = store.get(slice.batch.id).expect("a batch is freed only when nobody reads it any more");
        for view in batch.iter(slice.first as usize, slice.last as usize) {
            let header = Header::decode(&mut &view.header[..], windows).expect("a header as it was written");
            let mut value = view.value;
            let key = number(&mut value);
            let values = values(&mut value, grouped);
            let late = header.pane.timing == PaneTiming::Early;
            elements.push(Element { timestamp: header.timestamp, windows: header.windows, key, values, late });
        }
    }
    elements
}

/// All elements of a batch.
pub(crate) fn read_batch(store: &dyn BatchStore, id: BatchId, grouped: bool, windows: WindowCoder) -> Vec<Element> {
    let count = store.get(id).expect("a batch is freed once").len() as u32;
    let batch = BatchRef { id, count, bytes: 0, min_timestamp: EventTime::MIN, window_max: None };
    read(store, &[BatchSlice::whole(batch)], grouped, windows)
}

/// What a bundle writes to.
pub(crate) struct Out<'a> {
    pub(crate) writer: &'a mut LaneWriter,
    pub(crate) outputs: &'a [OutputId],
    pub(crate) grouped: bool,
}

impl Out<'_> {
    pub(crate) fn emit(&mut self, element: &Element) {
        for output in self.outputs {
            let (header, value) = (header(element), value(element, self.grouped));
            self.writer.push(*output, &header, element.timestamp, &value).expect("memory takes everything");
        }
    }
}

/// The numbers of a range, from the first up to, not including, the last.
pub(crate) fn numbers(range: (i64, i64), late: bool, out: &mut Out<'_>) {
    (range.0..range.1).for_each(|number| out.emit(&sourced(number, late)));
}

/// The sum of a side input's window.
pub(crate) fn side_sum(sides: &dyn SideView, side: SideId, of: &Node, main: &Element) -> i64 {
    let max = main.windows[0].max_timestamp();
    let window = of.strategy.window_fn.side_window_of(max).expect("side inputs have windows that the runner knows");
    let (mut sum, mut from) = (0, Some(0));
    while let Some(position) = from {
        let page = sides.read_iterable(side, &window, position).expect("memory gives everything back");
        let mut bytes = &page.data[..];
        while !bytes.is_empty() {
            number(&mut bytes);
            sum += number(&mut bytes);
        }
        from = page.next;
    }
    sum
}

/// State by key and window: values are kept, and a timer at the window's end emits what they come to. What is left of a
/// window behind its end and lateness is collected, though never before its timer has fired. With `far`, an instant of the clock,
/// a timer of the clock is set too, and again as it fires. Gives back what came too late, and how many of the clock a drain has fired.
pub(crate) fn keyed(
    program: &Program,
    node: usize,
    elements: &[Element],
    state: &mut dyn StateView,
    due: &DueBound,
    far: Option<i64>,
    out: &mut Out<'_>,
) -> (Vec<Element>, u64) {
    let spec = &program.nodes[node];
    let windows = windows_of(spec);
    let mut dropped = Vec::new();
    for element in elements.iter().flat_map(Element::explode) {
        let window = &element.windows[0];
        if program.stream && spec.drops(window, due.watermark) {
            dropped.push(element);
            continue;
        }
        let (cell, max) = (cell(node, element.key, window), window.max_timestamp());
        let mut kept = Vec::new();
        let what = if matches!(spec.does, Does::InOrder { .. }) { element.timestamp.millis() } else { element.sum() };
        write_varint(what, &mut kept);
        let ends = !matches!(window, BoundedWindow::Global);
        let expires = ends.then(|| max + spec.strategy.allowed_lateness + Millis(1));
        if let Some(at) = expires {
            state.expire_window(&cell.window, at);
        }
        state.append(&cell, kept.into()).expect("the key is in the bundle");
        let timer = Timer {
            key: cell.key.clone(),
            fire_at: Some(max.millis()),
            transform: cell.transform.clone(),
            family: "end".into(),
            tag: Bytes::new(),
            window: cell.window.clone(),
            domain: TimerDomain::EventTime,
            expires: None,
            hold: max,
            output_timestamp: None,
            pane: Bytes::new(),
        };
        if far.is_some() {
            let (family, domain) = ("far".into(), TimerDomain::ProcessingTime);
            let clock = Timer { fire_at: far, family, domain, expires, ..timer.clone() };
            state.set_timer(clock).expect("the key is in the bundle");
        }
        state.set_timer(timer).expect("the key is in the bundle");
    }
    if elements.is_empty() {
        state.collect_expired(due).expect("memory gives everything back");
    }
    let (mut called, mut ended) = (0, Vec::new());
    for timer in state.take_due(due).expect("memory gives everything back") {
        let place = (timer.key.clone(), timer.window.clone());
        if timer.domain == TimerDomain::ProcessingTime {
            assert!(!ended.contains(&place), "the clock calls behind the end of the window");
            if due.is_end_of_clock() {
                called += 1;
                assert!(!state.set_timer(timer).expect("the key is in the bundle"), "it could go on for ever");
            }
            continue;
        }
        ended.push(place);
        let window = decode_window(&mut &timer.window[..], windows).expect("a window as it was written");
        let key = number(&mut &timer.key[..]);
        let cell = cell(node, key, &window);
        let kept = read_all(state, &cell);
        let value = match spec.does {
            Does::InOrder { .. } => kept.iter().fold(0, |before, at| in_order(before, EventTime::from_millis(*at))),
            _ => kept.iter().sum(),
        };
        state.clear(&cell).expect("the key is in the bundle");
        let timestamp = window.max_timestamp();
        out.emit(&Element { timestamp, windows: vec![window], key, values: vec![value], late: false });
    }
    (dropped, called)
}

/// Passes elements on that come in the order of time, by key. How far each key is, over all windows, is its state.
pub(crate) fn ordered(node: usize, elements: &[Element], state: &mut dyn StateView, out: &mut Out<'_>) {
    for element in elements {
        let cell = cell(node, element.key, &BoundedWindow::Global);
        let (at, before) = (element.timestamp.millis(), read_all(state, &cell));
        let in_order = before.iter().all(|before| *before <= at);
        assert!(in_order, "node {node} is given {element:?} behind what stands at {before:?}");
        let mut kept = Vec::new();
        write_varint(at, &mut kept);
        state.clear(&cell).expect("the key is in the bundle");
        state.append(&cell, kept.into()).expect("the key is in the bundle");
        out.emit(element);
    }
}

fn cell(node: usize, key: i64, window: &BoundedWindow) -> Cell {
    let (mut key_bytes, mut window_bytes) = (Vec::new(), Vec::new());
    write_varint(key, &mut key_bytes);
    encode_window(window, &mut window_bytes);
    Cell {
        transform: format!("{node}").into(),
        state: "values".into(),
        window: window_bytes.into(),
        key: key_bytes.into(),
        map_key: None,
    }
}

fn read_all(state: &mut dyn StateView, cell: &Cell) -> Vec<i64> {
    let (mut values, mut from) = (Vec::new(), Some(Page::default()));
    while let Some(page) = from {
        let (data, next) = state.read(cell, page).expect("memory gives everything back");
        let mut bytes = &data[..];
        while !bytes.is_empty() {
            values.push(number(&mut bytes));
        }
        from = next;
    }
    values
}

/// A range as an element of the collection of ranges, on the wire whole.
pub(crate) fn range_on_the_wire(range: (i64, i64)) -> Vec<u8> {
    let element = Element {
        timestamp: EventTime::MIN,
        windows: vec![BoundedWindow::Global],
        key: range.0,
        values: vec![range.1],
        late: false,
    };
    [header(&element), value(&element, false)].concat()
}
