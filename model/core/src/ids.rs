//! Identifiers as they stand in a pipeline proto: strings chosen by the SDK, opaque to the runner.
//!
//! Each kind of id is a type of its own, so that a coder's id cannot be looked up among the transforms.
//! Cloning one is a reference count, not a copy. Ids order by their text, which keeps every walk over
//! them the same from run to run.

use std::fmt;
use std::sync::Arc;

macro_rules! wire_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the id as it stands in the proto.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The text, as it stands in the proto.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self::new(id)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

wire_id! {
    /// The key of a `PTransform` in `Components.transforms`. Not its unique name.
    TransformId
}
wire_id! {
    /// The key of a `PCollection` in `Components.pcollections`.
    PCollectionId
}
wire_id! {
    /// The key of a `Coder` in `Components.coders`.
    CoderId
}
wire_id! {
    /// The key of a `WindowingStrategy` in `Components.windowing_strategies`.
    WindowingStrategyId
}
wire_id! {
    /// The key of an `Environment` in `Components.environments`.
    EnvironmentId
}
wire_id! {
    /// A name in the `inputs` or `outputs` map of a `PTransform`, for example `None` or `python_side_input0`.
    LocalName
}
wire_id! {
    /// The id that a worker gives in the `worker_id` metadata of each Fn API call.
    WorkerId
}
wire_id! {
    /// The id of a job, minted at Run.
    JobId
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn ids_order_by_text_and_are_found_by_text() {
        let mut map = BTreeMap::new();
        map.insert(TransformId::new("b"), 2);
        map.insert(TransformId::new("a"), 1);
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(map.get("b"), Some(&2));
    }
}
