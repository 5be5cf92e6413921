//! From a URN, a payload and components to a coder.
//!
//! ```text
//!   Coder message: spec.urn, spec.payload, component_coder_ids ──► Coder::from_urn ──► Coder
//! ```
//! A URN that is not one of Beam's standard coders gives [`Coder::Unknown`], which is no error. Does not know ids: who
//! resolves them also finds cycles. Does not read schemas, which are protobuf.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::cursor::DEPTH_MAX;
use super::error::CoderError;
use super::windowed_value::ConstantHeader;
use super::{Coder, UnknownCoder, urns};

/// The most coders that one coder may consist of, counted as a tree.
pub const CODER_SIZE_MAX: usize = 1024;

/// Why a URN, a payload and components do not make a coder.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoderSpecError {
    /// A standard coder with too many or too few components.
    #[error("{urn} takes {expected} component coders and has {found}")]
    Components {
        /// The URN of the coder.
        urn: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// The payload is not what the coder needs.
    #[error("the payload of {urn} is not a windowed value with its window coder: {error}")]
    Payload {
        /// The URN of the coder.
        urn: &'static str,
        /// What is wrong with the payload.
        error: CoderError,
    },
    /// Coders inside coders inside coders.
    #[error("coders are nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More coders than Purlin follows.
    #[error("one coder consists of more than {CODER_SIZE_MAX} coders")]
    TooLarge,
}

impl Coder {
    /// The coder that a `Coder` message describes, its components already resolved. Cost: the size of the coder.
    ///
    /// Two URNs give [`Coder::Unknown`] though they are Beam's: `beam:coder:row:v1`, whose payload only the wire crate
    /// can read (make a [`Coder::Row`] of what it reads), and `beam:coder:schema:v1`, which ends in SDK code. To treat
    /// both as unknown is always safe.
    ///
    /// # Errors
    /// See [`CoderSpecError`].
    pub fn from_urn(urn: &str, payload: &[u8], components: Vec<Arc<Self>>) -> Result<Self, CoderSpecError> {
        let coder = match urn {
            urns::BYTES => none(urns::BYTES, &components).map(|()| Self::Bytes)?,
            urns::STRING_UTF8 => none(urns::STRING_UTF8, &components).map(|()| Self::StringUtf8)?,
            urns::BOOL => none(urns::BOOL, &components).map(|()| Self::Bool)?,
            urns::VARINT => none(urns::VARINT, &components).map(|()| Self::VarInt)?,
            urns::DOUBLE => none(urns::DOUBLE, &components).map(|()| Self::Double)?,
            urns::GLOBAL_WINDOW => none(urns::GLOBAL_WINDOW, &components).map(|()| Self::GlobalWindow)?,
            urns::INTERVAL_WINDOW => none(urns::INTERVAL_WINDOW, &components).map(|()| Self::IntervalWindow)?,
            urns::KV => two(urns::KV, components).map(|[key, value]| Self::Kv(key, value))?,
            urns::ITERABLE => one(urns::ITERABLE, components).map(Self::Iterable)?,
            urns::STATE_BACKED_ITERABLE => {
                one(urns::STATE_BACKED_ITERABLE, components).map(Self::StateBackedIterable)?
            }
            urns::LENGTH_PREFIX => one(urns::LENGTH_PREFIX, components).map(Self::LengthPrefix)?,
            urns::NULLABLE => one(urns::NULLABLE, components).map(Self::Nullable)?,
            urns::SHARDED_KEY => one(urns::SHARDED_KEY, components).map(Self::ShardedKey)?,
            urns::CUSTOM_WINDOW => one(urns::CUSTOM_WINDOW, components).map(Self::CustomWindow)?,
            urns::TIMER => two(urns::TIMER, components).map(|[key, window]| Self::Timer { key, window })?,
            urns::WINDOWED_VALUE => {
                two(urns::WINDOWED_VALUE, components).map(|[value, window]| Self::WindowedValue { value, window })?
            }
            urns::PARAM_WINDOWED_VALUE => {
                let [value, window] = two(urns::PARAM_WINDOWED_VALUE, components)?;
                let constant = ConstantHeader::from_payload(payload, &window)
                    .map_err(|error| CoderSpecError::Payload { urn: urns::PARAM_WINDOWED_VALUE, error })?;
                Self::ParamWindowedValue { value, window, constant: Arc::new(constant) }
            }
            _ => Self::Unknown(Arc::new(UnknownCoder {
                urn: urn.to_owned(),
                payload: Bytes::copy_from_slice(payload),
                components,
            })),
        };
        coder.measured()
    }

    /// Itself, if it is not too deep and not too large. Its components have passed already, so this ends soon.
    fn measured(self) -> Result<Self, CoderSpecError> {
        let (depth, size) = self.measure();
        if depth > DEPTH_MAX {
            Err(CoderSpecError::TooDeep)
        } else if size > CODER_SIZE_MAX {
            Err(CoderSpecError::TooLarge)
        } else {
            Ok(self)
        }
    }

    fn measure(&self) -> (usize, usize) {
        let below = match self {
            Self::Row(schema) => (schema.depth(), 0),
            other => other
                .components()
                .iter()
                .map(|component| component.measure())
                .fold((0, 0), |all, one| (all.0.max(one.0), all.1 + one.1)),
        };
        (below.0 + 1, below.1 + 1)
    }
}

fn none(urn: &'static str, components: &[Arc<Coder>]) -> Result<(), CoderSpecError> {
    match components.len() {
        0 => Ok(()),
        found => Err(CoderSpecError::Components { urn, expected: 0, found }),
    }
}

fn one(urn: &'static str, components: Vec<Arc<Coder>>) -> Result<Arc<Coder>, CoderSpecError> {
    exactly(urn, components).map(|[component]| component)
}

fn two(urn: &'static str, components: Vec<Arc<Coder>>) -> Result<[Arc<Coder>; 2], CoderSpecError> {
    exactly(urn, components)
}

fn exactly<const N: usize>(urn: &'static str, components: Vec<Arc<Coder>>) -> Result<[Arc<Coder>; N], CoderSpecError> {
    components.try_into().map_err(|components: Vec<_>| CoderSpecError::Components {
        urn,
        expected: N,
        found: components.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_of_components_is_told() {
        let bytes = Arc::new(Coder::Bytes);
        let error = Coder::from_urn(urns::KV, &[], vec![bytes.clone()]).expect_err("one component");
        assert_eq!(error.to_string(), "beam:coder:kv:v1 takes 2 component coders and has 1");
        let error = Coder::from_urn(urns::BYTES, &[], vec![bytes]).expect_err("one component");
        assert_eq!(error.to_string(), "beam:coder:bytes:v1 takes 0 component coders and has 1");
    }

    #[test]
    fn a_bad_payload_is_told() {
        let components = vec![Arc::new(Coder::Bytes), Arc::new(Coder::GlobalWindow)];
        let error = Coder::from_urn(urns::PARAM_WINDOWED_VALUE, &[0x80, 0, 0], components).expect_err("cut short");
        assert_eq!(
            error.to_string(),
            "the payload of beam:coder:param_windowed_value:v1 is not a windowed value with its window coder: \
             payload > timestamp, at byte 0: 8 more bytes are needed and 3 are left"
        );
    }

    #[test]
    fn deep_and_large_coders_are_refused() {
        let refused = |urn: &str, times: usize| {
            let mut coder = Arc::new(Coder::GlobalWindow);
            loop {
                match Coder::from_urn(urn, &[], vec![coder.clone(); times]) {
                    Ok(larger) => coder = Arc::new(larger),
                    Err(error) => break error,
                }
            }
        };
        assert_eq!(refused(urns::ITERABLE, 1), CoderSpecError::TooDeep);
        assert_eq!(refused("beam:coder:made_up:v1", 1), CoderSpecError::TooDeep);
        // Shared components count each time: who walks the coder meets them each time.
        assert_eq!(refused(urns::KV, 2), CoderSpecError::TooLarge);
    }
}
