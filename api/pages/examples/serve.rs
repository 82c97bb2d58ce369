//! Serves every page on loopback until Ctrl-C, for looking at them. The gifts are made up and live in memory.

#[path = "../tests/support/mod.rs"]
mod support;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let house = support::House::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/", listener.local_addr()?);
    println!("numbers: {} and {}", support::DIGITS, support::LETTERS);
    let stopped = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, house.router()).with_graceful_shutdown(stopped).await
}
