//! Each kind of mistake is planted once: what does not turn the verdict red proves nothing.

use proto::gift::v1::GiftState;

use super::*;

const MOMENT_US: i64 = 1_000_000_000;

/// Ten gifts for midnight, all sent once, a second after it.
fn good() -> Gifts {
    let mut gifts = Gifts::new(10, 10);
    for number in 0..10 {
        assert_eq!(gifts.ask(true), number);
        gifts.reserve(number, Some(5_000));
        gifts.hear(0, &phone("0103", number), RESERVED, "");
    }
    gifts.begin(MOMENT_US);
    for number in 0..10 {
        message(&mut gifts, number, MOMENT_US + 1_000_000);
        sent(&mut gifts, number, 1_100);
        gifts.hear(MOMENT_US + 1_200_000, &phone("0103", number), SENT, "");
    }
    gifts
}

fn phone(begins: &str, number: u64) -> String {
    format!("{begins}{number:07}")
}

fn message(gifts: &mut Gifts, number: u64, at_us: i64) {
    gifts.hear(at_us, &phone("0102", number), GIFT, &format!("http://127.0.0.1/g/token-{number}"));
}

fn sent(gifts: &mut Gifts, number: u64, after_ms: i64) {
    gifts.find(number, Found { state: GiftState::Sent, sent_after_ms: Some(after_ms) });
}

fn in_all() -> i64 {
    i64::try_from((0..10).map(wish::price).sum::<u64>()).unwrap()
}

fn books() -> (Balance, Ledger) {
    let won = in_all();
    let balance = Balance { captured: won, delivered: won, ..Balance::default() };
    (balance, Ledger { captured_won: u64::try_from(won).unwrap(), refunded_won: 0 })
}

#[test]
fn what_went_well_is_found_good() {
    let mut gifts = good();
    let tally = gifts.tally();
    assert_eq!(tally, Tally { count: 10, reserved: 10, ok: 10, ..Tally::default() });
    assert_eq!((gifts.outstanding(), gifts.unsettled()), (0, Vec::new()));
    assert_eq!(gifts.progress(), [10, 10, 10, 10, 0]);
    assert_eq!(gifts.drained_s(), (1.0, 1.1));
    assert_eq!((gifts.latency().len(), gifts.lateness().0.len(), gifts.lateness().1.len()), (10, 10, 10));
    let (balance, ledger) = books();
    assert_eq!(gifts.compare(&balance, &ledger), 0);
    assert!(gifts.findings().is_empty());
}

/// Red when a second message is not noticed.
#[test]
fn a_doubled_message_is_a_duplicate() {
    let mut gifts = good();
    message(&mut gifts, 3, MOMENT_US + 2_000_000);
    let tally = gifts.tally();
    assert_eq!((tally.ok, tally.duplicates, tally.lost), (9, 1, 0));
    assert_eq!(gifts.lateness().0.len(), 10, "lateness is that of the first");
}

/// Red when two links, which are two gifts, pass for one; or a message without any.
#[test]
fn a_second_link_is_a_duplicate() {
    let mut gifts = good();
    gifts.hear(MOMENT_US + 2_000_000, &phone("0102", 3), GIFT, "http://127.0.0.1/g/another");
    assert_eq!(gifts.tally().duplicates, 2, "a second message with a second link");
    let mut gifts = good();
    gifts.ask(true);
    gifts.reserve(10, None);
    gifts.hear(MOMENT_US + 1, &phone("0102", 10), GIFT, "");
    sent(&mut gifts, 10, 1);
    assert_eq!((gifts.tally().duplicates, gifts.tally().ok), (1, 10));
}

/// Red when one code that opens two gifts is not noticed.
#[test]
fn a_shared_code_is_a_duplicate() {
    let mut gifts = good();
    gifts.see_code(1, "AAAA");
    gifts.see_code(2, "BBBB");
    gifts.see_code(1, "AAAA");
    assert_eq!(gifts.tally().duplicates, 0);
    gifts.see_code(3, "AAAA");
    assert_eq!(gifts.tally().duplicates, 1);
}

/// Red when a gift that was reserved and not sent is not missed, whatever it is that is missing.
#[test]
fn a_lost_gift_is_lost() {
    let mut gifts = good();
    // Reserved, and no message.
    assert_eq!(gifts.ask(true), 10);
    gifts.reserve(10, None);
    assert_eq!((gifts.tally().lost, gifts.outstanding(), gifts.unsettled()), (1, 1, vec![10]));
    // The cluster says that it was sent, the phone says nothing.
    sent(&mut gifts, 10, 5);
    assert_eq!((gifts.tally().lost, gifts.outstanding(), gifts.unsettled()), (1, 1, vec![]));
    // The phone has it, the cluster does not know.
    assert_eq!(gifts.ask(true), 11);
    gifts.reserve(11, None);
    message(&mut gifts, 11, MOMENT_US + 5);
    gifts.find(11, Found { state: GiftState::Sending, sent_after_ms: None });
    assert_eq!((gifts.tally().lost, gifts.tally().ok), (2, 10));
    // Given up.
    gifts.find(11, Found { state: GiftState::Refunded, sent_after_ms: None });
    assert_eq!((gifts.tally().lost, gifts.unsettled()), (2, vec![]));
}

/// Red when a reservation that failed counts as lost, or as done.
#[test]
fn what_was_not_reserved_is_neither_lost_nor_done() {
    let mut gifts = good();
    gifts.ask(true);
    gifts.fail("OVERLOADED");
    let tally = gifts.tally();
    assert_eq!((tally.count, tally.reserved, tally.ok, tally.lost), (11, 10, 10, 0));
    assert_eq!(gifts.errors()["OVERLOADED"], 1);
    assert_eq!((gifts.outstanding(), gifts.unsettled()), (0, Vec::new()));
}

/// Red when a message, or the log, may be before midnight.
#[test]
fn before_its_moment_is_early() {
    let mut gifts = good();
    gifts.ask(true);
    gifts.reserve(10, None);
    message(&mut gifts, 10, MOMENT_US - 1);
    sent(&mut gifts, 10, 0);
    assert_eq!((gifts.tally().early, gifts.tally().ok), (1, 10));
    gifts.ask(true);
    gifts.reserve(11, None);
    message(&mut gifts, 11, MOMENT_US);
    sent(&mut gifts, 11, -1);
    assert_eq!(gifts.tally().early, 2);
    let mut night = Gifts::new(1, 1);
    night.ask(true);
    night.reserve(0, None);
    message(&mut night, 0, MOMENT_US);
    assert_eq!(night.tally().early, 1, "while the night has not begun, everything is");
}

/// Red when a message to somebody whom nobody gave anything is overlooked, or a gift for later that was sent.
#[test]
fn strangers_and_gifts_for_later_contradict() {
    let mut gifts = good();
    message(&mut gifts, 4_711, MOMENT_US + 1);
    gifts.find(4_712, Found { state: GiftState::Sent, sent_after_ms: None });
    assert_eq!(gifts.tally().contradicted, 2);
    assert_eq!(gifts.ask(false), 10);
    gifts.reserve(10, None);
    gifts.find(10, Found { state: GiftState::Reserved, sent_after_ms: None });
    assert_eq!((gifts.tally().ok, gifts.tally().lost, gifts.outstanding()), (11, 0, 0));
    message(&mut gifts, 10, MOMENT_US + 1);
    assert_eq!((gifts.tally().contradicted, gifts.tally().ok), (3, 10));
}

/// Red when any of the books may be a won too high or too low.
#[test]
fn a_won_too_much_is_noticed() {
    type Change = fn(&mut Balance, &mut Ledger);
    let changes: [Change; 8] = [
        |balance, _| balance.captured += 1,
        |balance, _| balance.held += 1,
        |balance, _| balance.in_transit -= 1,
        |balance, _| balance.delivered -= 1,
        |balance, _| balance.refunded += 1,
        |balance, _| balance.difference += 1,
        |_, ledger| ledger.captured_won += 1,
        |_, ledger| ledger.refunded_won += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (mut balance, mut ledger) = books();
        change(&mut balance, &mut ledger);
        let mut gifts = good();
        assert!(gifts.compare(&balance, &ledger) > 0, "change {number}");
        assert!(gifts.findings()[0].contains("the books differ"), "change {number}: {:?}", gifts.findings());
    }
}

/// Red when news that came twice, or not, looks like news that came.
#[test]
fn news_are_counted_apart() {
    let mut gifts = good();
    gifts.hear(MOMENT_US, &phone("0103", 3), SENT, "");
    gifts.hear(MOMENT_US, &phone("0103", 3), "received", "");
    assert_eq!(gifts.progress(), [10, 10, 10, 10, 1]);
}
