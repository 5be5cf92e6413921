//! The URNs of Beam's standard coders (`StandardCoders.Enum` in `beam_runner_api.proto`).
//!
//! The wire crate has the same strings from Beam's descriptors; a test there compares the two.

/// Raw bytes.
pub const BYTES: &str = "beam:coder:bytes:v1";
/// Text.
pub const STRING_UTF8: &str = "beam:coder:string_utf8:v1";
/// A key and a value.
pub const KV: &str = "beam:coder:kv:v1";
/// One byte, 0 or 1.
pub const BOOL: &str = "beam:coder:bool:v1";
/// A whole number of variable length.
pub const VARINT: &str = "beam:coder:varint:v1";
/// An IEEE 754 double.
pub const DOUBLE: &str = "beam:coder:double:v1";
/// Many elements.
pub const ITERABLE: &str = "beam:coder:iterable:v1";
/// A timer.
pub const TIMER: &str = "beam:coder:timer:v1";
/// A window with a start and an end.
pub const INTERVAL_WINDOW: &str = "beam:coder:interval_window:v1";
/// Anything, behind its length.
pub const LENGTH_PREFIX: &str = "beam:coder:length_prefix:v1";
/// The one window of global windowing.
pub const GLOBAL_WINDOW: &str = "beam:coder:global_window:v1";
/// A value with timestamp, windows and pane.
pub const WINDOWED_VALUE: &str = "beam:coder:windowed_value:v1";
/// A value whose timestamp, windows and pane stand in the coder.
pub const PARAM_WINDOWED_VALUE: &str = "beam:coder:param_windowed_value:v1";
/// Many elements, of which the later ones may wait in state.
pub const STATE_BACKED_ITERABLE: &str = "beam:coder:state_backed_iterable:v1";
/// A window of an SDK's own, behind its last instant.
pub const CUSTOM_WINDOW: &str = "beam:coder:custom_window:v1";
/// The fields of a schema.
pub const ROW: &str = "beam:coder:row:v1";
/// A row that an SDK turns into a value of its own. To Purlin an unknown coder.
pub const SCHEMA: &str = "beam:coder:schema:v1";
/// A key that was split into shards.
pub const SHARDED_KEY: &str = "beam:coder:sharded_key:v1";
/// A value or none.
pub const NULLABLE: &str = "beam:coder:nullable:v1";
