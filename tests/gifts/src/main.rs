//! `bosingak-gift-demo`: the story of a few gifts, from the wish to the books, on a virtual clock.

use gifts::{Options, World};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let world = World::start(Options::default()).await?;
    println!("{:?} {}", world.addresses(), world.clock().now().await?);
    world.end().await
}
