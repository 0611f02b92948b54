//! Generates the stubs from the archive's image: no protoc is needed.
use prost::Message;
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TOLLWAY_PROTOS");
    let archive = env::var("TOLLWAY_PROTOS").map_err(|_| "set TOLLWAY_PROTOS to the unpacked archive")?;
    let image = Path::new(&archive).join("image.binpb");
    println!("cargo:rerun-if-changed={}", image.display());
    let mut files = prost_types::FileDescriptorSet::decode(fs::read(image)?.as_slice())?;
    // Comments would become documentation, whose examples cargo would try to run.
    files.file.iter_mut().for_each(|file| file.source_code_info = None);
    // tonic-types brings the details of errors.
    files.file.retain(|file| !file.package().starts_with("google.rpc"));
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("tollway.rs")
        .compile_fds(files)?;
    Ok(())
}
