//! Pipelines in files: serialized `Pipeline` protos, binary or JSON.

use std::path::Path;

use prost::Message as _;
use purlin_proto::pipeline::v1 as pb;

use crate::exit::Failure;

/// Reads a pipeline; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<pb::Pipeline, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    parse(&bytes).map_err(|why| {
        Failure::Failed(format!(
            "{} holds no pipeline: {why}\nIt must be a serialized org.apache.beam.model.pipeline.v1.Pipeline, binary or JSON.",
            path.display()
        ))
    })
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
