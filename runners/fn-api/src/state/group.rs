//! The values of large groups: `StateKey.runner`, whose key is the token that an element held.
//!
//! Read only, page by page. A page may lie on disk, so that it is read on a thread that may wait.

use purlin_backend::GroupStore;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::state_key::Runner;
use purlin_proto::fn_execution::v1::state_request::Request as Operation;
use purlin_proto::fn_execution::v1::state_response::Response as Answer;

use super::{StateFault, page, position};

/// A page of a group.
pub(super) fn values(groups: &GroupStore, key: &Runner, operation: &Operation) -> Result<Answer, StateFault> {
    let kind = "runner";
    match operation {
        Operation::Get(fnpb::StateGetRequest { continuation_token }) => {
            let (data, next) = groups.page(&key.key, position(continuation_token)?)?;
            Ok(page(data, next))
        }
        Operation::Append(_) => Err(StateFault::Operation { kind, done: "appended to" }),
        Operation::Clear(_) => Err(StateFault::Operation { kind, done: "cleared" }),
    }
}
