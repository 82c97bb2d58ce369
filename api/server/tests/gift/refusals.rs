//! What cannot be: every refusal names what was wrong.

use proto::gift::v1 as gift;
use tonic_types::StatusExt;

use crate::support::{One, reason, within};
use crate::world::{World, on, party, wish};

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_cannot_be_granted() {
    let world = World::start().await;
    let long = "가".repeat(501);
    let cases: Vec<(&str, gift::ReserveRequest)> = vec![
        ("gift_id", gift::ReserveRequest { gift_id: "a b".into(), ..wish("x") }),
        ("product_id", gift::ReserveRequest { product_id: String::new(), ..wish("x") }),
        ("sender.id", gift::ReserveRequest { sender: Some(party("", "김", "010-1111-2222")), ..wish("x") }),
        ("recipient.phone", gift::ReserveRequest { recipient: Some(party("", "이", "12")), ..wish("x") }),
        ("message", gift::ReserveRequest { message: long, ..wish("x") }),
        ("send", gift::ReserveRequest { send: None, ..wish("x") }),
        ("send.local.date_time", gift::ReserveRequest { send: Some(on("2027-02-30")), ..wish("x") }),
        // Twelve hours behind, five minutes ahead, and more than a year.
        ("send_at", gift::ReserveRequest { send: Some(on("2027-02-13T00:00")), ..wish("x") }),
        ("send_at", gift::ReserveRequest { send: Some(on("2027-02-13T12:05")), ..wish("x") }),
        ("send_at", gift::ReserveRequest { send: Some(on("2028-02-16")), ..wish("x") }),
        ("payment.payment_key", gift::ReserveRequest { payment: None, ..wish("x") }),
        (
            "payment.amount_won",
            gift::ReserveRequest {
                payment: Some(gift::PaymentRequest { payment_key: "k".into(), amount_won: 1, ..Default::default() }),
                ..wish("x")
            },
        ),
    ];
    for (field, request) in cases {
        let status = within(world.gifts().reserve(request)).await.expect_err(field);
        let wrong = status.get_details_bad_request().unwrap_or_else(|| panic!("{field}: {status:?}"));
        let fields: Vec<&str> = wrong.field_violations.iter().map(|one| one.field.as_str()).collect();
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    let missing = gift::ReserveRequest { product_id: "tea".into(), ..wish("x") };
    assert_eq!(reason(world.gifts().reserve(missing).await).1, "NOT_FOUND");
    // Nothing of all that is left.
    let list = gift::ListGiftsRequest { sender_id: "kim".into(), ..Default::default() };
    assert!(within(world.gifts().list_gifts(list)).await.expect("listed").into_inner().gifts.is_empty());
    assert_eq!(world.reconciled().await.captured_won, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_codes_and_pages_that_are_none() {
    let world = World::start().await;
    for token in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        let open = gift::OpenGiftRequest { token: token.into(), ..Default::default() };
        assert_eq!(reason(world.gifts().open_gift(open).await).1, "NOT_FOUND", "{token}");
    }
    let redeem = |code: &str| gift::RedeemGiftRequest { code: code.into(), shop: "점".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().redeem_gift(redeem("1234")).await).1, "INVALID_FIELD");
    let right_shape = domain::gifticon::code(domain::product::CodeForm::Base32, 7, domain::gifticon::Dice(1));
    assert_eq!(reason(world.gifts().redeem_gift(redeem(&right_shape)).await).1, "NOT_FOUND");

    within(world.gifts().reserve(wish("g"))).await.expect("reserved");
    world.advance(43_200).await;
    world.until_state("g", gift::GiftState::Sent).await;
    let token = world.token("g");
    let accept = gift::AcceptGiftRequest { token, nonce: "made up".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().accept_gift(accept).await).1, "STALE_LINK");
    assert_eq!(world.get("g").await.state(), gift::GiftState::Sent);
    // Triggers of gifts are the server's to move.
    let mut scheduler = world.one.scheduler();
    let cancel = proto::v1::CancelRequest { id: "bosingak.gift.{g}.expire.1".into(), ..Default::default() };
    assert_eq!(reason(scheduler.cancel(cancel).await).1, "INVALID_FIELD");
    let run = proto::v1::RunNowRequest { id: "bosingak.gift.{g}.expire.1".into(), ..Default::default() };
    assert_eq!(reason(scheduler.run_now(run).await).1, "INVALID_FIELD");
    let other = gift::ReserveRequest { message: "다른 말".into(), ..wish("g") };
    assert_eq!(reason(world.gifts().reserve(other).await).1, "ALREADY_EXISTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_key_has_no_gifts() {
    let one = One::start().await;
    let mut gifts = proto::gift::v1::gift_service_client::GiftServiceClient::new(one.channel.clone());
    assert_eq!(reason(gifts.reserve(wish("g")).await).1, "NOT_CONFIGURED");
    one.stop().await;
}
