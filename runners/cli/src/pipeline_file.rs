//! Pipelines in files: serialized `Pipeline` protos, binary or JSON.

use std::io::Read;
use std::path::Path;

use prost::Message as _;
use purlin_job_server::MESSAGE_SIZE_MAX;
use purlin_proto::pipeline::v1 as pb;

use crate::exit::Failure;

/// Reads a pipeline; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<pb::Pipeline, Failure> {
    let bytes = if path == Path::new("-") {
        read_bounded(std::io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(read_bounded)
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    parse(&bytes).map_err(|why| {
        Failure::Failed(format!(
            "{} holds no pipeline: {why}\nIt must be a serialized org.apache.beam.model.pipeline.v1.Pipeline, binary or JSON.",
            path.display()
        ))
    })
}

/// As much as a message may hold, so that what never ends is not read for ever.
fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MESSAGE_SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MESSAGE_SIZE_MAX {
        let text = format!("it is longer than {MESSAGE_SIZE_MAX} bytes, which no pipeline is");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<pb::Pipeline, String> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Err("it is empty".to_owned()),
        // A binary pipeline may begin with a brace too, so that what is no JSON gets a second chance.
        Some(b'{') => parse_json(bytes).or_else(|why| pb::Pipeline::decode(bytes).map_err(|_| why)),
        Some(_) => pb::Pipeline::decode(bytes).map_err(|error| error.to_string()),
    }
}

fn parse_json(bytes: &[u8]) -> Result<pb::Pipeline, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    purlin_proto::json::decode(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_binary_are_told_apart() {
        let pipeline = pb::Pipeline { root_transform_ids: vec!["root".to_owned()], ..pb::Pipeline::default() };
        assert_eq!(parse(&pipeline.encode_to_vec()), Ok(pipeline.clone()));
        assert_eq!(parse(br#" {"rootTransformIds": ["root"]}"#), Ok(pipeline));
        assert!(parse(b"{").is_err());
        assert!(parse(b"").is_err());
        assert!(parse(b"hello").is_err());
    }
}
