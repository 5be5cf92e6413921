//! Messages as JSON, in protobuf's own mapping: what other tools print and read.
//!
//! ```text
//!   text ──► DynamicMessage (by the embedded descriptors) ──► M        decode
//!   M ──► DynamicMessage ──► text                                      encode
//! ```
//!
//! The descriptors are parsed at the first call, never at start-up. Does not know files.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).expect("the build script compiled these descriptors")
});

/// Why a text is not the message that it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON, or not of this message. The source says the line and what was expected there.
    #[error("this is not {message} in protobuf's JSON form")]
    Text {
        /// The full name of the message.
        message: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The message is not one of Beam's.
    #[error("{message} is not a message of Beam's interface; only those can be read or written as JSON")]
    Unknown {
        /// The full name of the message.
        message: String,
    },
    /// The message could not be moved between its two forms.
    #[error("{message} does not fit its own descriptor")]
    Transcode {
        /// The full name of the message.
        message: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
}

/// The parsed descriptors of everything in this crate, with their options.
pub fn descriptor_pool() -> &'static DescriptorPool {
    &POOL
}

/// Reads a message, for example a `Pipeline` that another tool printed.
///
/// ```
/// use purlin_proto::{json, pipeline::v1 as pb};
///
/// let spec: pb::FunctionSpec = json::decode(r#"{"urn": "beam:transform:impulse:v1"}"#)?;
/// assert_eq!(spec.urn, purlin_proto::urns::standard_ptransforms::primitives::IMPULSE);
/// # Ok::<(), json::JsonError>(())
/// ```
///
/// # Errors
/// When the text is not JSON, has more after the message, or names a field that the message does not have.
pub fn decode<M: Message + Name + Default>(text: &str) -> Result<M, JsonError> {
    let message = M::full_name();
    let mut json = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor::<M>()?, &mut json)
        .and_then(|dynamic| json.end().map(|()| dynamic))
        .map_err(|source| JsonError::Text { message: message.clone(), source })?;
    dynamic.transcode_to().map_err(|source| JsonError::Transcode { message, source })
}

/// Writes a message, indented by two.
///
/// # Errors
/// Only if the message is not one of Beam's.
pub fn encode<M: Message + Name>(message: &M) -> Result<String, JsonError> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic.transcode_from(message).map_err(|source| JsonError::Transcode { message: M::full_name(), source })?;
    serde_json::to_string_pretty(&dynamic).map_err(|source| JsonError::Text { message: M::full_name(), source })
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, JsonError> {
    let message = M::full_name();
    POOL.get_message_by_name(&message).ok_or(JsonError::Unknown { message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::v1 as pb;

    #[test]
    fn a_pipeline_is_read_back() {
        let impulse = pb::PTransform {
            unique_name: "Impulse".to_owned(),
            spec: Some(pb::FunctionSpec {
                urn: crate::urns::standard_ptransforms::primitives::IMPULSE.to_owned(),
                payload: vec![0, 0xff].into(),
            }),
            outputs: [("out".to_owned(), "pc".to_owned())].into(),
            ..Default::default()
        };
        let pipeline = pb::Pipeline {
            components: Some(pb::Components { transforms: [("t".to_owned(), impulse)].into(), ..Default::default() }),
            root_transform_ids: vec!["t".to_owned()],
            ..Default::default()
        };
        let text = encode(&pipeline).expect("a message of Beam's");
        assert!(text.contains("\"rootTransformIds\""), "{text}");
        assert_eq!(decode::<pb::Pipeline>(&text).expect("just written"), pipeline);
    }

    #[test]
    fn wrong_text_is_refused_with_its_line() {
        for (text, place) in [
            ("{\n \"roots\": []}", "line 2"),
            ("", "line 1"),
            ("{} {}", "line 1"),
            ("[]", "line 1"),
            ("{\"requirements\":\n 3}", "line 2"),
        ] {
            let error = decode::<pb::Pipeline>(text).expect_err(text);
            assert_eq!(
                error.to_string(),
                "this is not org.apache.beam.model.pipeline.v1.Pipeline in protobuf's JSON form"
            );
            let source = std::error::Error::source(&error).expect("the parser's words").to_string();
            assert!(source.contains(place), "{text}: {source}");
        }
    }
}
