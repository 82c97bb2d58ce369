//! What becomes of gifts when everybody does what they should, and when they change their minds.

use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;
use proto::notification::v1::News;
use proto::payment::v1 as payment;
use proto::payment::v1::PaymentState;
use proto::payment::v1::payment_outcome::Kind;

use crate::support::{reason, within};
use crate::world::{World, on, party, wish};

const HALF_A_DAY: i64 = 43_200;
const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn a_gift_is_reserved_sent_at_midnight_accepted_and_used() {
    let world = World::start().await;
    let reserved = within(world.gifts().reserve(wish("g-1"))).await.expect("reserved").into_inner();
    let gift = reserved.gift.expect("a gift");
    assert_eq!(gift.state(), GiftState::Reserved);
    assert_eq!(gift.recipient.as_ref().map(|recipient| recipient.phone.as_str()), Some("+821033334444"));
    assert_eq!(gift.send_at_local.as_ref().map(|local| local.date_time.as_str()), Some("2027-02-14T00:00:00"));
    assert_eq!(
        reserved.payment.map(|payment| (payment.state(), payment.captured_won)),
        Some((PaymentState::Done, 4_500))
    );
    let again = within(world.gifts().reserve(wish("g-1"))).await.expect("repeated").into_inner();
    assert!(again.replayed);
    assert_eq!(world.reconciled().await.held_won, 4_500);

    // A moment before midnight nothing has happened.
    world.until_midnight_less(1).await;
    assert_eq!(world.get("g-1").await.state(), GiftState::Reserved);
    world.until_midnight_less(0).await;
    let sent = world.until_state("g-1", GiftState::Sent).await;
    assert_eq!(sent.channel(), gift::Channel::Kakao);
    let midnight = sent.send_at.expect("a moment").seconds;
    let sent_at = sent.events.iter().find(|event| event.state() == GiftState::Sent).and_then(|event| event.at);
    assert_eq!(sent_at.map(|at| at.seconds), Some(midnight));

    let token = world.token("g-1");
    let open = gift::OpenGiftRequest { token: token.clone(), ..Default::default() };
    let opened = within(world.gifts().open_gift(open.clone())).await.expect("opened").into_inner();
    assert_eq!((opened.code.as_str(), opened.passed_on), ("", false));
    let seen = opened.gift.expect("a gift");
    assert_eq!(seen.sender.map(|sender| (sender.name, sender.phone)), Some(("김보신".into(), String::new())));
    assert_eq!(world.get("g-1").await.version, sent.version, "looking changes nothing");

    let accept = gift::AcceptGiftRequest { token: token.clone(), nonce: opened.nonce, ..Default::default() };
    let accepted = within(world.gifts().accept_gift(accept.clone())).await.expect("accepted").into_inner();
    assert_eq!(accepted.code.len(), 16);
    let again = within(world.gifts().accept_gift(accept)).await.expect("pressed twice").into_inner();
    assert_eq!(again.code, accepted.code);
    let opened = within(world.gifts().open_gift(open)).await.expect("opened").into_inner();
    assert_eq!(opened.code, accepted.code);

    let redeem = gift::RedeemGiftRequest {
        code: accepted.code.to_lowercase(),
        shop: "종로점".into(),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let redeemed = within(world.gifts().redeem_gift(redeem.clone())).await.expect("used").into_inner();
    let shown = redeemed.gift.expect("a gift");
    assert_eq!((shown.state(), shown.recipient, shown.message.as_str()), (GiftState::Used, None, ""));
    let again = within(world.gifts().redeem_gift(redeem.clone())).await.expect("repeated").into_inner();
    assert!(again.replayed);
    let other = gift::RedeemGiftRequest { request_id: String::new(), ..redeem };
    assert_eq!(reason(world.gifts().redeem_gift(other).await).1, "WRONG_STATE");

    // Nobody is reminded of what was used, and nothing expires.
    world.advance(40 * DAY).await;
    assert_eq!(world.get("g-1").await.state(), GiftState::Used);
    assert_eq!(world.news("g-1"), [News::Reserved, News::Sent, News::Received]);
    let total = world.reconciled().await;
    assert_eq!((total.captured_won, total.delivered_won, total.refunded_won), (4_500, 4_500, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_reminds_expires_and_is_paid_back() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g-2"))).await.expect("reserved");
    world.advance(HALF_A_DAY).await;
    let sent = world.until_state("g-2", GiftState::Sent).await;
    // Valid to the end of the thirtieth day after the 14th.
    let left = sent.expires_at.expect("known").seconds - sent.send_at.expect("known").seconds;
    assert_eq!(left, 31 * DAY);
    let (token, end) = (world.token("g-2"), 31 * DAY);
    world.advance(end - 4 * DAY).await;
    assert!(!world.news("g-2").contains(&News::ExpiresSoon));
    world.advance(4 * DAY - 2).await;
    let reminders = world.news("g-2").iter().filter(|news| **news == News::ExpiresSoon).count();
    assert_eq!(reminders, 2);
    assert_eq!(world.get("g-2").await.state(), GiftState::Sent);
    world.advance(2).await;
    world.until_state("g-2", GiftState::Refunded).await;
    let open = gift::OpenGiftRequest { token, ..Default::default() };
    let opened = within(world.gifts().open_gift(open)).await.expect("still leads there").into_inner();
    assert_eq!((opened.gift.expect("a gift").state(), opened.code.as_str()), (GiftState::Refunded, ""));
    let total = world.reconciled().await;
    assert_eq!((total.captured_won, total.delivered_won, total.refunded_won), (4_500, 0, 4_500));
    assert_eq!(world.script.lock().expect("not poisoned").refunds["g-2"], 4_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_changes_it_and_takes_it_back() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g-3"))).await.expect("reserved");
    let edit = gift::EditGiftRequest {
        gift_id: "g-3".into(),
        sender_id: "kim".into(),
        message: Some("하루 늦게".into()),
        send: Some(on("2027-02-15T08:00")),
        ..Default::default()
    };
    let edited = within(world.gifts().edit_gift(edit.clone())).await.expect("changed").into_inner().gift;
    assert_eq!(edited.map(|gift| gift.message), Some("하루 늦게".into()));
    // Midnight passes; it is not sent.
    world.advance(HALF_A_DAY + 3_600).await;
    assert_eq!(world.get("g-3").await.state(), GiftState::Reserved);
    let others = gift::CancelGiftRequest { gift_id: "g-3".into(), sender_id: "park".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().cancel_gift(others).await).1, "NOT_FOUND");
    let cancel = gift::CancelGiftRequest {
        gift_id: "g-3".into(),
        sender_id: "kim".into(),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let cancelled = within(world.gifts().cancel_gift(cancel.clone())).await.expect("in time").into_inner();
    assert_eq!(cancelled.gift.map(|gift| gift.state()), Some(GiftState::Cancelled));
    assert!(cancelled.receipt.is_some_and(|receipt| receipt.log_index > 0));
    assert!(within(world.gifts().cancel_gift(cancel)).await.expect("repeated").into_inner().replayed);
    world.until_state("g-3", GiftState::Refunded).await;
    world.advance(DAY).await;
    assert_eq!(world.get("g-3").await.state(), GiftState::Refunded);
    assert_eq!(world.reconciled().await.refunded_won, 4_500);

    within(world.gifts().reserve(gift::ReserveRequest { send: Some(on("2027-02-20")), ..wish("g-4") }))
        .await
        .expect("reserved");
    world.advance(6 * DAY).await;
    world.until_state("g-4", GiftState::Sent).await;
    let late = gift::CancelGiftRequest { gift_id: "g-4".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().cancel_gift(late).await).1, "WRONG_STATE");
    let list = gift::ListGiftsRequest { sender_id: "kim".into(), ..Default::default() };
    let listed = within(world.gifts().list_gifts(list)).await.expect("listed").into_inner().gifts;
    let mut ids: Vec<String> = listed.into_iter().map(|gift| gift.id).collect();
    ids.sort();
    assert_eq!(ids, ["g-3", "g-4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_passes_it_on_once() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g-5"))).await.expect("reserved");
    world.advance(HALF_A_DAY).await;
    world.until_state("g-5", GiftState::Sent).await;
    let old = world.token("g-5");
    let open = |token: &str| gift::OpenGiftRequest { token: token.into(), ..Default::default() };
    let nonce = within(world.gifts().open_gift(open(&old))).await.expect("opened").into_inner().nonce;
    let accept = gift::AcceptGiftRequest { token: old.clone(), nonce: nonce.clone(), ..Default::default() };
    let seen_code = within(world.gifts().accept_gift(accept)).await.expect("accepted").into_inner().code;
    let transfer = gift::TransferGiftRequest {
        token: old.clone(),
        nonce,
        to: Some(party("", "박광화", "010-5555-6666")),
        ..Default::default()
    };
    within(world.gifts().transfer_gift(transfer.clone())).await.expect("passed on");
    crate::support::until(async || world.news("g-5").contains(&News::Arrived).then_some(())).await;
    let new = world.token("g-5");
    assert_ne!(new, old);
    let opened = within(world.gifts().open_gift(open(&old))).await.expect("opened").into_inner();
    assert!(opened.passed_on && opened.code.is_empty() && opened.nonce.is_empty());
    assert_eq!(reason(world.gifts().transfer_gift(transfer.clone()).await).1, "STALE_LINK");
    let opened = within(world.gifts().open_gift(open(&new))).await.expect("opened").into_inner();
    assert!(!opened.code.is_empty() && opened.code != seen_code);
    let to = Some(party("", "최흥인", "010-7777-8888"));
    let second = gift::TransferGiftRequest { token: new, nonce: opened.nonce, to, ..transfer };
    assert_eq!(reason(world.gifts().transfer_gift(second).await).1, "TOO_LATE");
    let redeem =
        |code: &str| gift::RedeemGiftRequest { code: code.into(), shop: "종로점".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().redeem_gift(redeem(&seen_code)).await).1, "NOT_FOUND");
    within(world.gifts().redeem_gift(redeem(&opened.code))).await.expect("used");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_do_not_come_through() {
    let world = World::start().await;
    let say = |id: &str, kind| world.script.lock().expect("not poisoned").payments.insert(id.into(), kind);
    say("declined", Kind::Declined);
    let answer = within(world.gifts().reserve(wish("declined"))).await.expect("answered").into_inner();
    let gift = answer.gift.expect("a gift");
    assert_eq!(gift.state(), GiftState::Failed);
    assert!(gift.trouble.contains("REJECT_CARD_PAYMENT"), "{}", gift.trouble);

    say("down", Kind::NotReached);
    assert_eq!(reason(world.gifts().reserve(wish("down")).await).1, "PAYMENT_NOT_REACHED");
    let request = gift::GetGiftRequest { gift_id: "down".into(), ..Default::default() };
    assert_eq!(reason(world.gifts().get_gift(request).await).1, "NOT_FOUND");
    world.script.lock().expect("not poisoned").payments.remove("down");
    let answer = within(world.gifts().reserve(wish("down"))).await.expect("reserved").into_inner();
    assert_eq!(answer.gift.map(|gift| gift.state()), Some(GiftState::Reserved));

    say("slow", Kind::Unknown);
    let answer = within(world.gifts().reserve(wish("slow"))).await.expect("answered").into_inner();
    assert_eq!(answer.gift.map(|gift| gift.state()), Some(GiftState::PendingPayment));
    assert_eq!(answer.payment.map(|payment| payment.state()), Some(payment::PaymentState::Unknown));
    // It is asked about, and was captured after all.
    world.advance(10).await;
    world.until_state("slow", GiftState::Reserved).await;
    assert_eq!(world.reconciled().await.captured_won, 9_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_sees_the_whole_way() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g-6"))).await.expect("reserved");
    let request = gift::WatchGiftRequest { gift_id: "g-6".into(), ..Default::default() };
    let mut watched = within(world.gifts().watch_gift(request)).await.expect("watched").into_inner();
    let mut next = async || {
        let answer = within(watched.message()).await.expect("no error");
        answer.and_then(|answer| answer.gift).map(|gift| gift.state())
    };
    assert_eq!(next().await, Some(GiftState::Reserved));
    let cancel = gift::CancelGiftRequest { gift_id: "g-6".into(), ..Default::default() };
    within(world.gifts().cancel_gift(cancel)).await.expect("in time");
    let mut seen = Vec::new();
    while let Some(state) = next().await {
        seen.push(state);
    }
    assert_eq!(seen.last(), Some(&GiftState::Refunded), "the stream ends with the gift: {seen:?}");
}
