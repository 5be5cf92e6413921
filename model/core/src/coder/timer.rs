//! `timer`: a timer that is set or cleared.
//!
//! ```text
//!   key, nested │ tag, nested │ windows: count 4, then each │ 00 │ fire 8 │ hold 8 │ pane ≥ 1      set
//!   key, nested │ tag, nested │ windows: count 4, then each │ 01                                  cleared
//! ```
//! A `Timers` message is several of them, one behind the other. Does not know in which domain the timer fires.

use super::cursor::{Reader, Writer, mismatch};
use super::error::CoderError;
use super::value::{Timer, TimerFiring, Value};
use super::wire::Wire;
use super::{Coder, Context, iterable, text};

pub(super) fn read(key: &Coder, window: &Coder, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let key = key.read(from, Context::Nested).map_err(|error| error.within("key"))?;
    let dynamic_tag = text::read_text(from, Context::Nested).map_err(|error| error.within("dynamic tag"))?;
    let windows = iterable::read_list(window, from).map_err(|error| error.within("windows"))?;
    let cleared = read_clear_bit(from)?;
    let firing = if cleared { None } else { Some(read_firing(from)?) };
    Ok(Value::Timer(Box::new(Timer { key, dynamic_tag, windows, firing })))
}

fn read_clear_bit(from: &mut Reader<'_>) -> Result<bool, CoderError> {
    from.flag("set", "cleared").map_err(|error| error.within("clear bit"))
}

fn read_firing(from: &mut Reader<'_>) -> Result<TimerFiring, CoderError> {
    let fire = from.timestamp().map_err(|error| error.within("fire timestamp"))?;
    let hold = from.timestamp().map_err(|error| error.within("hold timestamp"))?;
    let pane = from.pane().map_err(|error| error.within("pane"))?;
    Ok(TimerFiring { fire, hold, pane })
}

pub(super) fn write(key: &Coder, window: &Coder, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::Timer(timer) = value else {
        return Err(mismatch("a timer", value));
    };
    key.write(&timer.key, Context::Nested, to).map_err(|error| error.within("key"))?;
    to.prefixed(timer.dynamic_tag.as_bytes());
    iterable::write_list(window, &timer.windows, to).map_err(|error| error.within("windows"))?;
    to.bytes(&[u8::from(timer.firing.is_none())]);
    if let Some(firing) = &timer.firing {
        to.timestamp(firing.fire);
        to.timestamp(firing.hold);
        firing.pane.encode(to.out);
    }
    Ok(())
}

pub(super) fn pass(key: &Coder, window: &Coder, from: &mut Reader<'_>) -> Result<(), CoderError> {
    key.pass(from, Context::Nested).map_err(|error| error.within("key"))?;
    from.prefixed().map_err(|error| error.within("dynamic tag"))?;
    iterable::pass_list(window, from).map_err(|error| error.within("windows"))?;
    if read_clear_bit(from)? {
        return Ok(());
    }
    from.array::<16>().map_err(|error| error.within("fire and hold timestamps"))?;
    from.skip_pane().map_err(|error| error.within("pane"))
}
