//! `sharded_key`: the id of a shard, then the key.
//!
//! ```text
//!   08 73 68 61 72 64 5f 69 64 │ 03 6b 65 79
//!   shard id                   │ key, always nested
//! ```

use bytes::Bytes;

use super::cursor::{Reader, Writer, mismatch};
use super::error::CoderError;
use super::value::{ShardedKey, Value};
use super::wire::Wire;
use super::{Coder, Context};

pub(super) fn read(key: &Coder, from: &mut Reader<'_>) -> Result<Value, CoderError> {
    let shard_id = from.prefixed().map_err(in_shard_id)?;
    let key = key.read(from, Context::Nested).map_err(|error| error.within("key"))?;
    Ok(Value::ShardedKey(Box::new(ShardedKey { shard_id: Bytes::copy_from_slice(shard_id), key })))
}

pub(super) fn write(key: &Coder, value: &Value, to: &mut Writer<'_>) -> Result<(), CoderError> {
    let Value::ShardedKey(it) = value else {
        return Err(mismatch("a sharded key", value));
    };
    to.prefixed(&it.shard_id);
    key.write(&it.key, Context::Nested, to).map_err(|error| error.within("key"))
}

pub(super) fn pass(key: &Coder, from: &mut Reader<'_>) -> Result<(), CoderError> {
    from.prefixed().map_err(in_shard_id)?;
    key.pass(from, Context::Nested).map_err(|error| error.within("key"))
}

fn in_shard_id(error: CoderError) -> CoderError {
    error.within("shard id")
}
