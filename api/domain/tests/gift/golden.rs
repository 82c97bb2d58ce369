//! Kept bytes of every key, record, payload, command and answer. How they are kept is said in `tests/golden/src/lib.rs`.

use std::fmt::Debug;

use bytes::Bytes;
use domain::gift::{
    Accept, Attempt, BeginSend, Cancel, Edit, Event, Expire, Gift, Party, Redeem, Remind, ResolveSend, SendLater,
    SendUnknown, SendWork, Sending, Transfer, Turn,
};
use domain::ledger::{Account, Day, Movement};
use domain::notification::{Notice, Notification, Told, Way};
use domain::payment::{PayWork, Payment, RefundOutcome, RefundWork};
use domain::product::{Product, PutProduct};
use domain::shop::{AddTerminal, Count, Counted, Forget, PutShop, RevokeTerminal, Shop, Terminal, Unlock, Verdict};
use domain::{Command, Kind, Refusal, Reply, keys, stored, triggers};
use golden::Golden;
use prost::Message;
use scheduler::command::LocalTime;
use scheduler::lane::Generation;
use scheduler::time::Timestamp;

use crate::world::{coffee, draw, request, reserve, sender, sent, settle, settle_refund};

fn local() -> Option<LocalTime> {
    let (date_time, zone, tzdb) = ("2027-02-14T00:00:00".into(), "Asia/Seoul".into(), "2026a".into());
    Some(LocalTime { date_time, zone, policy: 2, tzdb })
}

fn attempt(channel: i32) -> Attempt {
    Attempt { channel, at: 11, provider_id: "m-1".into(), error: "no".into() }
}

fn party() -> Option<Party> {
    Some(Party { kakao: "k-1".into(), ..sender() })
}

fn product() -> Option<Product> {
    Some(Product { image_url: "https://example.com/a.png".into(), code_form: 1, ..coffee() })
}

fn gift() -> Gift {
    Gift {
        id: "g-1".into(),
        sender: party(),
        recipient: party(),
        message: "축하해".into(),
        product: product(),
        send_at: 1,
        local: local(),
        state: 4,
        draw: Some(draw(3)),
        sending: Some(Sending {
            round: 2,
            begun: Some(attempt(1)),
            rejected: vec![attempt(2)],
            sent: Some(attempt(3)),
            failures: 1,
            waiting_since: 12,
        }),
        expires_at: 2,
        remind_at: vec![3, 4],
        transferred: true,
        events: vec![Event { at: 5, state: 1, what: "reserved".into(), log_index: 6 }],
        requests: vec![Bytes::from(vec![5; 17])],
        version: 7,
        made: 8,
        created: 9,
        fingerprint: 10,
        send_trigger: "s".into(),
        clock_trigger: "c".into(),
        trouble: "t".into(),
        holder: 2,
        shop: "shop-1".into(),
        attention: true,
        reminded: 1,
    }
}

fn payment() -> Payment {
    Payment {
        id: "g-1".into(),
        provider: "toss".into(),
        payment_key: "k".into(),
        order_id: "g-1".into(),
        amount_won: 4_500,
        state: 2,
        captured_won: 4_501,
        captured_at: 1,
        method: "CARD".into(),
        refund: 3,
        refunded_at: 2,
        error: "e".into(),
        queries: 3,
        made: 4,
        trigger: "q".into(),
    }
}

fn record<M: Message + Default + PartialEq + Debug>(golden: &mut Golden, name: &'static str, record: M) {
    golden.value(name, record, |record| stored::encode(record), |kept| stored::decode(name, &kept).expect("read"));
}

fn message<M: Message + Default + PartialEq + Debug>(golden: &mut Golden, name: &str, message: M) {
    golden.value(name, message, Message::encode_to_vec, |kept| M::decode(kept).expect("read"));
}

fn keys_of_every_table(golden: &mut Golden) {
    let (time, made) = (Timestamp::from_millis(0x0001_8f00_1234_5678), Generation::new(0x0a_bcde, 0x123));
    for (name, today) in [
        ("product", keys::product("shop", "coffee")),
        ("gift", keys::gift("shop", "g-1")),
        ("gift-of-sender", keys::gift_of_sender("shop", "kim", made)),
        ("link", keys::link("shop", &[7; 32])),
        ("code", keys::code("shop", &[8; 32])),
        ("payment", keys::payment("shop", "g-1")),
        ("journal", keys::journal("shop", time, made, 2)),
        ("day", keys::day("shop", Day(20_863), Account::Held)),
        ("attention", keys::attention("shop", "g-1")),
        ("notifications", keys::notifications("shop", "g-1")),
        ("shop", keys::shop("shop", "jongno")),
        ("terminal", keys::terminal("shop", "jongno", "till-1")),
    ] {
        golden.bytes(&format!("key-{name}"), &today);
    }
    golden.bytes("trigger-id-of-shop", triggers::id_of_shop("jongno", 4_097).as_bytes());
    golden.bytes("trigger-id", triggers::id("g-1", triggers::Purpose::Send, 4_097).as_bytes());
}

fn commands_about_shops() -> [(&'static str, Kind); 7] {
    let (shop, terminal, number) = ("jongno".to_owned(), "till-1".to_owned(), 4_097);
    let (secret, code, request) = (Bytes::from(vec![3; 16]), Bytes::from(vec![2; 32]), request(7));
    let redeem =
        Redeem { code: code.clone(), request: request.clone(), shop: shop.clone(), terminal: terminal.clone() };
    let add = AddTerminal {
        shop: shop.clone(),
        terminal: terminal.clone(),
        secret: secret.clone(),
        request: request.clone(),
    };
    [
        ("redeem-at-terminal", Kind::Redeem(redeem)),
        ("put-shop", Kind::PutShop(PutShop { id: shop.clone(), name: "종로점".into(), expected_version: 2 })),
        ("add-terminal", Kind::AddTerminal(add)),
        ("revoke-terminal", Kind::RevokeTerminal(RevokeTerminal { shop: shop.clone(), terminal: terminal.clone() })),
        ("count", Kind::Count(Count { shop: shop.clone(), terminal: terminal.clone(), secret, code, request })),
        ("forget", Kind::Forget(Forget { shop: shop.clone(), terminal: terminal.clone(), number })),
        ("unlock", Kind::Unlock(Unlock { shop, terminal })),
    ]
}

fn commands_of_every_kind(golden: &mut Golden) {
    let (id, request) = ("g-1".to_owned(), request(7));
    let (link, code) = (Bytes::from(vec![1; 32]), Bytes::from(vec![2; 32]));
    let kinds = [
        ("put-product", Kind::PutProduct(PutProduct { product: product(), expected_version: 2 })),
        ("reserve", Kind::Reserve(domain::gift::Reserve { local: local(), ..reserve("g-1", 5) })),
        ("settle", settle("g-1", domain::payment::Outcome::Unknown, 4_500)),
        ("settle-refund", settle_refund("g-1", RefundOutcome::Refused)),
        (
            "edit",
            Kind::Edit(Edit {
                gift: id.clone(),
                request: request.clone(),
                expected_version: 3,
                recipient: party(),
                message: Some(String::new()),
                send_at: 4,
                local: local(),
                sender: "kim".into(),
            }),
        ),
        (
            "cancel",
            Kind::Cancel(Cancel {
                gift: id.clone(),
                request: request.clone(),
                expected_version: 3,
                sender: "kim".into(),
            }),
        ),
        (
            "begin-send",
            Kind::BeginSend(BeginSend {
                gift: id.clone(),
                round: 2,
                rejected: vec![attempt(1)],
                draw: Some(draw(3)),
                expires_at: 9,
                remind_at: vec![7, 8],
            }),
        ),
        ("sent", sent("g-1", 2, 3)),
        (
            "send-later",
            Kind::SendLater(SendLater { gift: id.clone(), round: 2, error: "e".into(), outage: true, after_ms: 5 }),
        ),
        ("send-unknown", Kind::SendUnknown(SendUnknown { gift: id.clone(), round: 2, error: "e".into() })),
        (
            "resolve-send",
            Kind::ResolveSend(ResolveSend { gift: id.clone(), found: 2, provider_id: "m".into(), by: "lee".into() }),
        ),
        ("accept", Kind::Accept(Accept { link: link.clone(), request: request.clone() })),
        ("transfer", Kind::Transfer(Transfer { link, request: request.clone(), to: party(), draw: Some(draw(4)) })),
        ("redeem", Kind::Redeem(Redeem { code, request, shop: "shop-1".into(), terminal: String::new() })),
        ("remind", Kind::Remind(Remind { gift: id.clone(), number: 1 })),
        ("expire", Kind::Expire(Expire { gift: id.clone() })),
        ("told", Kind::Told(Told { gift: id, number: 4_097, channel: 2, provider_id: "m-1".into(), moot: true })),
    ];
    let shops = commands_about_shops();
    for (name, kind) in kinds.into_iter().chain(shops) {
        message(golden, &format!("command-{name}"), Command { kind: Some(kind) });
    }
}

/// Red when any field of any key, record or command changes its place, number or width.
#[test]
fn what_was_written_is_read_and_written_the_same() {
    let mut golden = Golden::of(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    keys_of_every_table(&mut golden);
    commands_of_every_kind(&mut golden);
    record(&mut golden, "gift", gift());
    record(&mut golden, "payment", payment());
    record(&mut golden, "product", product().expect("one"));
    record(&mut golden, "movement", Movement { payment: "g-1".into(), from: 1, to: 2, won: 4_500 });
    message(&mut golden, "send-work", SendWork { gift: "g-1".into(), round: 2 });
    let (payment_key, idempotency_key) = ("k".to_owned(), "i".to_owned());
    let (id, provider) = ("g-1".to_owned(), "toss".to_owned());
    let work = PayWork {
        payment: id.clone(),
        provider: provider.clone(),
        payment_key: payment_key.clone(),
        order_id: id.clone(),
        amount_won: 4_500,
        idempotency_key: idempotency_key.clone(),
    };
    message(&mut golden, "pay-work", work);
    let reason = "not used".to_owned();
    let work = RefundWork { payment: id.clone(), provider, payment_key, amount_won: 4_500, reason, idempotency_key };
    message(&mut golden, "refund-work", work);
    let notice = Notice {
        gift: id,
        news: 7,
        to: party(),
        channels: vec![4, 1],
        product: "coffee".into(),
        brand: "Bell".into(),
        price_won: 4_500,
        sender_name: "Kim".into(),
        recipient_name: "민지".into(),
        send_at: 1,
        expires_at: 2,
        reason: "r".into(),
        ..Notice::default()
    };
    message(&mut golden, "notice", notice);
    let (shop, terminal) = ("jongno".to_owned(), "till-1".to_owned());
    let notice = Notice { news: 11, shop: shop.clone(), terminal, until: 3, channels: vec![5], ..Notice::default() };
    message(&mut golden, "notice-of-shop", notice);
    let terminal = Terminal {
        shop: shop.clone(),
        id: "till-1".into(),
        secret: Bytes::from(vec![3; 16]),
        added: 1,
        revoked: 2,
        request: request(7),
        counted: vec![Counted { number: 4_097, at: 3, request: request(8), code: Bytes::from(vec![2; 32]) }],
        alert: "a".into(),
    };
    record(&mut golden, "terminal", terminal.clone());
    let shop = Shop { id: shop, name: "종로점".into(), version: 2, terminals: 3 };
    record(&mut golden, "shop", shop.clone());
    let verdict = Some(Verdict { kind: 1, number: 4_097, locks: true });
    let reply = Reply { shop: Some(shop), terminal: Some(terminal), verdict, ..Reply::default() };
    message(&mut golden, "reply-of-shop", reply);
    let notification = Notification {
        number: 4_097,
        news: 7,
        at: 1,
        to: "김***".into(),
        ways: vec![Way { channel: 2, address: "***78".into() }],
        fate: 1,
        since: 2,
        channel: 2,
        provider_id: "m-1".into(),
    };
    record(&mut golden, "notification", notification);
    let (field, expected) = ("f".to_owned(), "x".to_owned());
    message(
        &mut golden,
        "refusal",
        Refusal { reason: 4, field, expected, state: 3, wanted: 9, version: 7, ..Refusal::default() },
    );
    message(&mut golden, "refusal-locked", Refusal::locked(Timestamp::from_millis(9), Timestamp::from_millis(4)));
    let turn = Some(Turn { channel: 2, resumed: true, begun_at: 3, over: true, gift: None });
    let (gift, payment) = (Some(gift()), Some(payment()));
    let reply =
        Reply { product: product(), gift, payment, replayed: true, turn, log_index: 8, time: 9, ..Reply::default() };
    message(&mut golden, "reply", reply);
    golden.done();
}
