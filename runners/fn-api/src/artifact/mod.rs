//! The files that a pipeline brings along, as workers see them.
//!
//! ```text
//!   job server ─staged_artifact(hash)─► ProvisionInfo.dependencies ─► worker ─GetArtifact─► retrieval ─► ArtifactStore
//! ```
//! The address of a file is the hash of its content, so a path from outside never reaches the disk.

use bytes::Bytes;
use prost::Message;
use purlin_backend::ArtifactHash;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_artifacts::types;

pub(crate) mod retrieval;

/// A staged file as a worker shall see it: a file whose path is its hash, in the role that the SDK gave it.
pub fn staged_artifact(
    hash: ArtifactHash,
    role_urn: impl Into<String>,
    role_payload: impl Into<Bytes>,
) -> pb::ArtifactInformation {
    let hex = hash.to_string();
    let payload = pb::ArtifactFilePayload { path: hex.clone(), sha256: hex };
    pb::ArtifactInformation {
        type_urn: types::FILE.to_owned(),
        type_payload: payload.encode_to_vec().into(),
        role_urn: role_urn.into(),
        role_payload: role_payload.into(),
    }
}

/// The hash of a staged file, if this is what [`staged_artifact`] made.
pub fn parse_staged_artifact(artifact: &pb::ArtifactInformation) -> Option<ArtifactHash> {
    if artifact.type_urn != types::FILE {
        return None;
    }
    let payload = pb::ArtifactFilePayload::decode(artifact.type_payload.clone()).ok()?;
    (payload.path == payload.sha256).then(|| parse_hex(&payload.sha256)).flatten()
}

fn parse_hex(hex: &str) -> Option<ArtifactHash> {
    let mut hash = [0; 32];
    // from_str_radix alone would take a sign.
    if hex.len() != 2 * hash.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(ArtifactHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_staged_is_found_again() {
        let hash = ArtifactHash(std::array::from_fn(|index| index as u8 * 7));
        let artifact = staged_artifact(hash, "beam:artifact:role:staging_to:v1", &b"role"[..]);
        assert_eq!(parse_staged_artifact(&artifact), Some(hash));
        assert_eq!(artifact.role_payload, &b"role"[..]);
    }

    #[test]
    fn anything_else_is_not_taken_for_a_staged_file() {
        let of = |type_urn: &str, path: &str| pb::ArtifactInformation {
            type_urn: type_urn.into(),
            type_payload: pb::ArtifactFilePayload { path: path.into(), sha256: path.into() }.encode_to_vec().into(),
            ..Default::default()
        };
        let hex = "0".repeat(64);
        assert!(parse_staged_artifact(&of(types::FILE, &hex)).is_some());
        assert_eq!(parse_staged_artifact(&of(types::URL, &hex)), None);
        assert_eq!(parse_staged_artifact(&of(types::FILE, "/etc/passwd")), None);
        assert_eq!(parse_staged_artifact(&of(types::FILE, &"+1".repeat(32))), None);
        assert_eq!(parse_staged_artifact(&of(types::FILE, &"é".repeat(32))), None);
    }
}
