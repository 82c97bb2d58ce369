//! The pages in a real browser: `tests/browser/gift-page.mjs` drives Chromium over loopback.

mod support;
mod tools;

use tools::Tools;

#[test]
fn a_person_with_a_phone_can_use_every_page() {
    let Some(tools) = Tools::find() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = support::House::new();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(axum::serve(listener, house.clone().router()).into_future());

    let arguments = [format!("http://{address}"), support::DIGITS.into(), support::LETTERS.into()];
    tools.run("gift-page.mjs", &arguments);
    // The POSTs of its two people, and no GET, changed anything.
    assert_eq!(house.changes(), ["accepted to-pass-on", "transferred to-pass-on to 이하늘 🌤 <b>"]);
}
