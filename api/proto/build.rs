//! Compiles the .proto files without protoc (protox is pure Rust).

use std::path::PathBuf;

const FILES: &[&str] = &[
    "bosingak/v1/trigger.proto",
    "bosingak/v1/scheduler.proto",
    "bosingak/v1/executor.proto",
    "bosingak/v1/topic.proto",
    "bosingak/v1/dead_letter.proto",
    "bosingak/admin/v1/cluster.proto",
    "bosingak/product/v1/product.proto",
    "bosingak/payment/v1/payment.proto",
    "bosingak/gift/v1/party.proto",
    "bosingak/gift/v1/gift.proto",
    "bosingak/notification/v1/notification.proto",
    "bosingak/shop/v1/shop.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".bosingak")
        .btree_map(".bosingak")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
