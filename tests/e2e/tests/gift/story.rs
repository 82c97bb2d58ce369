//! From the payment to the shop and back, with everything that is ours running as it does in production.

use std::collections::BTreeSet;

use gifts::{Options, World};
use jiff::SignedDuration;
use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;

/// Price of everything.
const WON: u64 = 4_500;

/// Pays for a gift and reserves it, to be sent in an hour.
async fn reserve(world: &World, id: &str, phone: &str) -> gift::Gift {
    let send_at = world.clock().now().await.expect("a time") + SignedDuration::from_hours(1);
    let at = prost_types::Timestamp { seconds: send_at.as_second(), nanos: send_at.subsec_nanosecond() };
    let request = gift::ReserveRequest {
        gift_id: id.into(),
        product_id: "coffee".into(),
        sender: Some(gift::Party {
            id: "kim".into(),
            name: "김보신".into(),
            phone: "010-1111-2222".into(),
            ..Default::default()
        }),
        recipient: Some(gift::Party { name: "이종각".into(), phone: phone.into(), ..Default::default() }),
        message: "밸런타인데이 축하해 🎁".into(),
        send: Some(gift::SendTime { when: Some(gift::send_time::When::At(at)) }),
        payment: Some(world.pay(id, WON).expect("paid")),
        ..Default::default()
    };
    world.reserve(request).await.expect("reserved")
}

/// Red when a link that was sent leads nowhere, when money is anywhere but where the provider has it, or when the executor that
/// is killed takes a gift with it.
#[tokio::test(flavor = "multi_thread")]
async fn gifts_are_paid_sent_used_taken_back_and_paid_back() {
    let mut world = World::start(Options::default()).await.expect("started");
    world.put_on_sale("coffee", "별다방", "아메리카노 Tall", WON).await.expect("on sale");
    assert_eq!(reserve(&world, "gift-used", "010-3333-0001").await.state(), GiftState::Reserved);
    assert_eq!(reserve(&world, "gift-taken-back", "010-3333-0002").await.state(), GiftState::Reserved);
    assert_eq!(reserve(&world, "gift-forgotten", "010-3333-0003").await.state(), GiftState::Reserved);
    assert_eq!(world.fakes().toss().ledger(0).captured_won, 3 * WON);

    let cancel = gift::CancelGiftRequest { gift_id: "gift-taken-back".into(), ..Default::default() };
    world.client().cancel_gift(cancel).await.expect("in time");
    world.until_state("gift-taken-back", GiftState::Refunded).await.expect("paid back");
    assert_eq!(world.fakes().toss().ledger(0).refunded_won, WON);

    world.kill_executor("executor-1").expect("killed");
    world.clock().advance_by(SignedDuration::from_hours(1)).await.expect("moved");
    world.until_state("gift-used", GiftState::Sent).await.expect("sent");
    world.until_state("gift-forgotten", GiftState::Sent).await.expect("sent");
    assert!(world.links("010-3333-0002").is_empty(), "what was taken back is not sent");
    let links = world.links("010-3333-0001");
    assert_eq!(links.len(), 1, "{links:?}");
    let code = world.accept(&links[0]).await.expect("the link leads there");
    world.redeem(&code, "종로점").await.expect("used");

    world.clock().advance_by(SignedDuration::from_hours(32 * 24)).await.expect("moved");
    world.until_state("gift-forgotten", GiftState::Refunded).await.expect("paid back");
    assert_eq!(world.gift("gift-used").await.expect("there").state(), GiftState::Used);
    // The gift, and two reminders with the link.
    let links = world.links("010-3333-0003");
    assert_eq!((links.len(), links.iter().collect::<BTreeSet<_>>().len()), (3, 1), "{links:?}");
    let books = world.books().await.expect("reconciled");
    assert_eq!(books.differences(), [""; 0]);
    let ours = books.ours.total.expect("a total");
    assert_eq!((ours.delivered_won, ours.held_won, ours.in_transit_won), (WON as i64, 0, 0));
    world.end().await.expect("ends");
}
