//! Compiles the peer protocol without protoc (protox is pure Rust).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["peer.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".bosingak")
        .btree_map(".bosingak")
        .compile_fds(descriptors)?;
    Ok(())
}
