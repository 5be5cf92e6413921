//! Compiles Beam's interface definitions: messages, gRPC clients and servers, and the table of URNs.
//!
//! ```text
//!   proto/**/*.proto ──protox──► descriptors ──┬─ tonic-prost-build ─► beam.rs (include_file), one file per package
//!                                              ├─ encoded ───────────► descriptors.bin
//!                                              └─ build/urns.rs ─────► urns.rs
//!   own/**/*.proto ────protox──► descriptors ──┬─ tonic-prost-build ─► own.rs
//!                                              └─ encoded ───────────► own-descriptors.bin
//! ```
//! Purlin's own messages stand apart, so that Beam's stay exactly Beam's.
//!
//! No system `protoc` is needed. Does not know Python: the text under `proto/` is printed by `cargo xtask protos`.

#[path = "build/urns.rs"]
mod urns;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=own");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);

    let beam = compile(Path::new("proto"), &out.join("descriptors.bin"), "beam.rs")?;
    fs::write(out.join("urns.rs"), urns::table(&beam.descriptor_pool()))?;
    compile(Path::new("own"), &out.join("own-descriptors.bin"), "own.rs")?;
    Ok(())
}

fn compile(root: &Path, descriptors: &Path, include_file: &str) -> Result<protox::Compiler, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([root])?;
    // Without source info no comment reaches the generated code, and the embedded descriptors stay small.
    compiler.include_source_info(false).include_imports(true).open_files(files_under(root)?)?;
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    let mut config = tonic_prost_build::Config::new();
    // Each message knows its full name, which is how JSON finds its descriptor.
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .include_file(include_file)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(compiler)
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
