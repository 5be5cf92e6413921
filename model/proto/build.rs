//! Compiles Beam's interface definitions: messages, gRPC clients and servers, and the table of URNs.
//!
//! ```text
//!   proto/**/*.proto ──protox──► descriptors ──┬─ tonic-prost-build ─► beam.rs (include_file), one file per package
//!                                              ├─ encoded ───────────► descriptors.bin
//!                                              └─ build/urns.rs ─────► urns.rs
//! ```
//!
//! No system `protoc` is needed. Does not know Python: the text under `proto/` is printed by `cargo xtask protos`.

#[path = "build/urns.rs"]
mod urns;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);

    let mut compiler = protox::Compiler::new([root])?;
    // Without source info no comment reaches the generated code, and the embedded descriptors stay small.
    compiler.include_source_info(false).include_imports(true).open_files(files_under(root)?)?;

    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("urns.rs"), urns::table(&compiler.descriptor_pool()))?;
    let mut config = tonic_prost_build::Config::new();
    // Each message knows its full name, which is how JSON finds its descriptor.
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .include_file("beam.rs")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_under(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
