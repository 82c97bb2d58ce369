//! A gift in a real browser, where a node serves it: `tests/browser/gift-mounted.mjs` drives Chromium over loopback. Every page by
//! itself, with gifts that are made up, is looked at by the tests of the crate `pages`.

use proto::gift::v1::{self as gift, GiftState};
use serde_json::json;

use crate::server_support::{until, within};
use crate::support::Http;
use crate::tools::Tools;
use crate::world::{World, wish};

/// Turns red when a page that a node serves is not what the browser of a recipient can use, or when a form does not do what it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_a_phone_opens_a_gift_accepts_it_and_passes_it_on() {
    let Some(tools) = Tools::find() else { return };
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let cake = json!({
        "name": "딸기 생크림 케이크와 아메리카노 두 잔", "brand": "종로 베이커리", "priceWon": 4500, "onSale": true,
        "imageUrl": "https://images.example/cake.svg", "codeForm": "digits",
    });
    assert_eq!(http.put("/v1/namespaces/default/products/cake", cake).await.status, 200);
    let message = "서연아, 생일 축하해! 🎂\n올해도 네 옆에 있을 수 있어서 참 좋아.";
    let with_cake = |id: &str| gift::ReserveRequest { product_id: "cake".into(), message: message.into(), ..wish(id) };
    for id in ["story", "used"] {
        within(world.gifts().reserve(with_cake(id))).await.expect("reserved");
    }
    world.until_midnight_less(0).await;
    for id in ["story", "used"] {
        world.until_state(id, GiftState::Sent).await;
    }
    let (story, used) = (world.token("story"), world.token("used"));
    let opened = gift::OpenGiftRequest { token: used.clone(), ..Default::default() };
    let nonce = within(world.gifts().open_gift(opened)).await.expect("opened").into_inner().nonce;
    let accept = gift::AcceptGiftRequest { token: used.clone(), nonce, ..Default::default() };
    let code = within(world.gifts().accept_gift(accept)).await.expect("accepted").into_inner().code;
    // A code of digits alone is taken from a terminal only.
    let shops = "/v1/namespaces/default/shops/jongno";
    assert_eq!(http.put(shops, json!({ "name": "종로점" })).await.status, 200);
    let till = http.post(&format!("{shops}/terminals"), json!({ "id": "till-1" })).await;
    let terminal_secret = till.json["secret"].as_str().expect("shown once").to_owned();
    let (shop, terminal) = ("jongno".into(), "till-1".into());
    let redeem = gift::RedeemGiftRequest { code, shop, terminal, terminal_secret, ..Default::default() };
    within(world.gifts().redeem_gift(redeem)).await.expect("used");

    let arguments = [http.base.clone(), story.clone(), used];
    let looking = tokio::task::spawn_blocking(move || tools.run("gift-mounted.mjs", &arguments));
    looking.await.expect("every page is as it should be");

    let passed_on = world.get("story").await;
    assert_eq!((passed_on.state(), passed_on.transferred), (GiftState::Accepted, true));
    let recipient = passed_on.recipient.expect("somebody");
    assert_eq!((recipient.name.as_str(), recipient.email.as_str()), ("이하늘 🌤 <b>", "haneul@example.com"));
    until(async || (world.token("story") != story).then_some(())).await;
}
