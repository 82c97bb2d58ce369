//! From the payment to the shop and back, with everything that is ours running as it does in production.

use std::collections::BTreeSet;

use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;

use crate::scene::{Scene, WON};

const DAY: i64 = 86_400;

/// Red when a link that was sent leads nowhere, when money is anywhere but where the provider has it, or when the executor that
/// is killed takes a gift with it.
#[tokio::test(flavor = "multi_thread")]
async fn gifts_are_paid_sent_used_taken_back_and_paid_back() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.reserve("gift-used", "010-3333-0001").await.state(), GiftState::Reserved);
    assert_eq!(scene.reserve("gift-taken-back", "010-3333-0002").await.state(), GiftState::Reserved);
    assert_eq!(scene.reserve("gift-forgotten", "010-3333-0003").await.state(), GiftState::Reserved);
    assert_eq!(scene.fakes.toss().ledger(0).captured_won, 3 * WON);

    let cancel = gift::CancelGiftRequest { gift_id: "gift-taken-back".into(), ..Default::default() };
    scene.gifts().cancel_gift(cancel).await.expect("in time");
    scene.until_state("gift-taken-back", GiftState::Refunded).await;
    assert_eq!(scene.fakes.toss().ledger(0).refunded_won, WON);

    scene.kill_executor(0);
    scene.advance(3_600).await;
    scene.until_state("gift-used", GiftState::Sent).await;
    scene.until_state("gift-forgotten", GiftState::Sent).await;
    assert!(scene.links("010-3333-0002").is_empty(), "what was taken back is not sent");
    let links = scene.links("010-3333-0001");
    assert_eq!(links.len(), 1, "{links:?}");
    let token = links[0].rsplit('/').next().expect("a token").to_owned();

    let open = gift::OpenGiftRequest { token: token.clone(), ..Default::default() };
    let nonce = scene.gifts().open_gift(open).await.expect("the link leads there").into_inner().nonce;
    let accept = gift::AcceptGiftRequest { token, nonce, ..Default::default() };
    let code = scene.gifts().accept_gift(accept).await.expect("accepted").into_inner().code;
    let redeem = gift::RedeemGiftRequest { code, shop: "종로점".into(), ..Default::default() };
    scene.gifts().redeem_gift(redeem).await.expect("gift-used");

    scene.advance(32 * DAY).await;
    scene.until_state("gift-forgotten", GiftState::Refunded).await;
    assert_eq!(scene.get("gift-used").await.state(), GiftState::Used);
    // The gift, and two reminders with the link.
    let links = scene.links("010-3333-0003");
    assert_eq!((links.len(), links.iter().collect::<BTreeSet<_>>().len()), (3, 1), "{links:?}");
    let (ours, theirs) = (scene.reconciled().await, scene.fakes.toss().ledger(0));
    assert_eq!((ours.captured_won, ours.refunded_won), (theirs.captured_won as i64, theirs.refunded_won as i64));
    assert_eq!((ours.delivered_won, ours.held_won, ours.in_transit_won), (WON as i64, 0, 0));
    scene.end().await;
}
