//! Every rule has its refusal, which names the field or both states.

use domain::gift::{Cancel, Edit, Party, Reserve, ResolveSend, SendLater, State};
use domain::payment::{Ask, Outcome, RefundOutcome};
use domain::product::{Product, PutProduct};
use domain::{Kind, Reason, payment, product};
use scheduler::command::{Business, Kind as Asked, LocalTime};
use scheduler::reply::Reply as Answer;

use crate::world::*;

fn party(change: impl Fn(&mut Party)) -> Option<Party> {
    let mut party = sender();
    change(&mut party);
    Some(party)
}

fn ask(change: impl Fn(&mut Ask)) -> Option<Ask> {
    let mut ask = reserve("g1", 0).payment.expect("a payment");
    change(&mut ask);
    Some(ask)
}

fn made(change: impl Fn(&mut Product)) -> Option<Product> {
    let mut product = coffee();
    change(&mut product);
    Some(product)
}

#[test]
fn reservations() {
    let mut world = World::default();
    let good = world.reserve("g1");
    let long = |chars: usize| "가".repeat(chars);
    let local = |zone: &str| Some(LocalTime { zone: zone.into(), ..LocalTime::default() });
    let with = |change: &dyn Fn(&mut Reserve)| {
        let mut command = good.clone();
        change(&mut command);
        command
    };
    let cases: Vec<(&str, Reserve)> = vec![
        ("gift_id", with(&|r| r.gift = String::new())),
        ("gift_id", with(&|r| r.gift = "a b".into())),
        ("gift_id", with(&|r| r.gift = "a}b".into())),
        ("gift_id", with(&|r| r.gift = "g\0".into())),
        ("gift_id", with(&|r| r.gift = "g".repeat(65))),
        ("sender", with(&|r| r.sender = None)),
        ("sender.id", with(&|r| r.sender = party(|p| p.id = String::new()))),
        ("sender.id", with(&|r| r.sender = party(|p| p.id = "김".into()))),
        ("sender.name", with(&|r| r.sender = party(|p| p.name = long(61)))),
        ("recipient", with(&|r| r.recipient = None)),
        ("recipient.phone", with(&|r| r.recipient = party(|p| p.phone = "010-1234-5678".into()))),
        ("recipient.phone", with(&|r| r.recipient = party(|p| p.phone = "+0123456789".into()))),
        ("recipient.phone", with(&|r| r.recipient = party(|p| p.phone = "+1234567".into()))),
        ("recipient.phone", with(&|r| r.recipient = party(|p| p.phone = "+1234567890123456".into()))),
        ("recipient.id", with(&|r| r.recipient = party(|p| p.id = "x".repeat(65)))),
        ("recipient.kakao", with(&|r| r.recipient = party(|p| p.kakao = "x".repeat(65)))),
        ("recipient.email", with(&|r| r.recipient = party(|p| p.email = "x".repeat(255)))),
        ("recipient.push_token", with(&|r| r.recipient = party(|p| p.push_token = "x".repeat(513)))),
        ("recipient.zone", with(&|r| r.recipient = party(|p| p.zone = "x".repeat(65)))),
        ("recipient.language", with(&|r| r.recipient = party(|p| p.language = "x".repeat(17)))),
        ("message", with(&|r| r.message = long(501))),
        ("local", with(&|r| r.local = local(&"x".repeat(65)))),
        ("send_at", with(&|r| r.send_at = 0)),
        ("product", with(&|r| r.product = None)),
        ("product_id", with(&|r| r.product = made(|p| p.on_sale = false))),
        ("product.id", with(&|r| r.product = made(|p| p.id = "a b".into()))),
        ("product.name", with(&|r| r.product = made(|p| p.name = long(101)))),
        ("product.brand", with(&|r| r.product = made(|p| p.brand = String::new()))),
        ("product.price_won", with(&|r| r.product = made(|p| p.price_won = 0))),
        ("product.price_won", with(&|r| r.product = made(|p| p.price_won = payment::WON_MAX + 1))),
        ("product.valid_days", with(&|r| r.product = made(|p| p.valid_days = product::VALID_DAYS_MAX + 1))),
        ("product.image_url", with(&|r| r.product = made(|p| p.image_url = "http://x".into()))),
        ("product.code_form", with(&|r| r.product = made(|p| p.code_form = 2))),
        ("product.remind_days", with(&|r| r.product = made(|p| p.remind_days = vec![1, 3]))),
        ("product.remind_days", with(&|r| r.product = made(|p| p.remind_days = vec![30]))),
        ("product.remind_days", with(&|r| r.product = made(|p| p.remind_days = vec![0]))),
        ("product.remind_hour", with(&|r| r.product = made(|p| p.remind_hour = 24))),
        ("payment", with(&|r| r.payment = None)),
        ("payment.payment_key", with(&|r| r.payment = ask(|a| a.payment_key = String::new()))),
        ("payment.payment_key", with(&|r| r.payment = ask(|a| a.payment_key = "x".repeat(201)))),
        // One payment for two gifts.
        ("payment.order_id", with(&|r| r.payment = ask(|a| a.order_id = "g2".into()))),
        ("payment.provider", with(&|r| r.payment = ask(|a| a.provider = "t o".into()))),
        ("payment.amount_won", with(&|r| r.payment = ask(|a| a.amount_won += 1))),
    ];
    let rows = |world: &World| world.store.rows().keys().filter(|key| key[0] >= 0x80).count();
    for (field, command) in cases {
        let refusal = world.ask(Kind::Reserve(command)).expect_err(field);
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, field), "{refusal}");
        assert!(!refusal.expected.is_empty(), "{refusal:?}");
        assert_eq!((rows(&world), world.live().len()), (0, 0), "{field}: nothing is left");
    }
    // As long as it can be.
    let largest = with(&|r| {
        r.message = "🎁".repeat(500);
        r.local = local(&"x".repeat(64));
        r.product = made(|p| p.valid_days = product::VALID_DAYS_MAX);
        r.recipient = party(|p| {
            (p.name, p.kakao, p.email) = (long(60), "x".repeat(64), "x".repeat(254));
            p.push_token = "x".repeat(512);
        });
    });
    world.ask(Kind::Reserve(largest)).expect("reserved");
    world.ask(settle("g1", Outcome::Captured, PRICE)).expect("what was reserved can be scheduled");
    assert_eq!(world.state("g1"), State::Reserved);
}

#[test]
fn records_that_are_not_there_and_outcomes_that_are_none() {
    let mut world = World::default();
    let none = "none".to_owned();
    for command in [
        Kind::Edit(Edit { gift: none.clone(), ..Edit::default() }),
        Kind::Cancel(Cancel { gift: none.clone(), ..Cancel::default() }),
        Kind::BeginSend(world.begin_send("none", 1)),
        sent("none", 1, 1),
        Kind::SendLater(SendLater { gift: none.clone(), ..SendLater::default() }),
        Kind::ResolveSend(ResolveSend { gift: none, ..ResolveSend::default() }),
    ] {
        let refusal = world.ask(command).expect_err("none");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NotFound, "gift"));
    }
    let refusal = world.ask(settle_refund("none", RefundOutcome::Done)).expect_err("none");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NotFound, "payment"));
    world.reserved("g1");
    for command in [settle("g1", Outcome::Unspecified, 0), settle_refund("g1", RefundOutcome::Unspecified)] {
        assert_eq!(world.ask(command).expect_err("none").field, "outcome");
    }
}

/// Every state but the one it needs is refused with both names.
#[test]
fn states_that_do_not_lead_there() {
    let mut world = World::default();
    world.accepted("accepted");
    world.reserved("pending");
    for (id, state) in [("pending", State::PendingPayment), ("accepted", State::Accepted)] {
        let gift = id.to_owned();
        for (command, wanted) in [
            (Kind::Edit(Edit { gift: gift.clone(), ..Edit::default() }), State::Reserved),
            (Kind::Cancel(Cancel { gift: gift.clone(), ..Cancel::default() }), State::Cancelled),
            (
                Kind::ResolveSend(ResolveSend { gift, by: "lee".into(), found: 1, ..ResolveSend::default() }),
                State::Sent,
            ),
        ] {
            let refusal = world.ask(command).expect_err("no way");
            assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::WrongState, state, wanted));
            let text = refusal.to_string();
            assert!(text.contains(state.name()) && text.contains(wanted.name()), "{text}");
        }
        assert!(world.begin(id, 1).over);
    }
}

/// Red when a name goes into keys as it is: a tenant would write among another's rows.
#[test]
fn names_of_tenants_are_checked() {
    let mut world = World::default();
    let put = encoded(Kind::PutProduct(PutProduct { product: Some(coffee()), expected_version: 0 }));
    for namespace in ["", "a\0b", "Shop", "가", &"x".repeat(65)] {
        let command = Asked::Business(Business { namespace: namespace.into(), body: put.clone() });
        let Answer::Refused(scheduler::reply::Refusal::Business(body)) = world.entry(vec![command]).remove(0) else {
            panic!("{namespace:?} is taken")
        };
        let refusal: domain::Refusal = prost::Message::decode(body).expect("a refusal");
        assert_eq!(refusal.field, "namespace");
    }
    assert_eq!(world.store.rows().keys().filter(|key| key[0] >= 0x80).count(), 0);
}

#[test]
fn products_have_versions() {
    let mut world = World::default();
    let mut put = |product: Product, expected_version| {
        world.ask(Kind::PutProduct(PutProduct { product: Some(product), expected_version }))
    };
    let version = |reply: domain::Reply| reply.product.expect("a product").version;
    assert_eq!(put(coffee(), 0).map(version), Ok(1));
    assert_eq!(put(coffee(), 0).map(version), Ok(1), "the same again");
    let dearer = Product { price_won: 5_000, ..coffee() };
    assert_eq!(put(dearer.clone(), 1).map(version), Ok(2));
    let refusal = put(coffee(), 1).expect_err("an old version");
    assert_eq!((refusal.reason(), refusal.version), (Reason::VersionMismatch, 2));
    assert_eq!(put(dearer, 1).map(version), Ok(2), "repeated");
    let refusal = world.ask(Kind::PutProduct(PutProduct::default())).expect_err("no product");
    assert_eq!(refusal.field, "product");
    for id in ["a", "b", "d"] {
        world
            .ask(Kind::PutProduct(PutProduct { product: made(|p| p.id = id.into()), expected_version: 0 }))
            .expect("put");
    }
    let ids = |after: &str, max| {
        let found = product::list(&world.store, SHOP, after, max).expect("read");
        found.into_iter().map(|product| product.id).collect::<Vec<_>>()
    };
    assert_eq!((ids("", 2), ids("b", 9)), (vec!["a".into(), "b".into()], vec!["coffee".into(), "d".into()]));
}
