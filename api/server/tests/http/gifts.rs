//! Gifts over HTTP: the whole way of one, what senders change, and every refusal with its reason.

use proto::gift::v1::GiftState;
use proto::payment::v1::payment_outcome::Kind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server_support::{One, reason, until, within};
use crate::support::{Http, proto_json};
use crate::world::{World, wish};

const GIFTS: &str = "/v1/namespaces/default/gifts";
const LINKS: &str = "/v1/namespaces/default/links";
const REDEEM: &str = "/v1/namespaces/default/redeem";
const HALF_A_DAY: i64 = 43_200;

/// A coffee for the 14th of February, at the recipient's midnight.
fn gift(id: &str) -> Value {
    json!({
        "id": id, "productId": "coffee",
        "sender": { "id": "kim", "name": "김보신", "phone": "010-1111-2222" },
        "recipient": { "name": "이종각", "phone": "+82 10 3333 4444" },
        "message": "밸런타인데이 축하해 🎁", "send": { "date": "2027-02-14" },
        "payment": { "paymentKey": format!("key-of-{id}"), "amountWon": 4500 },
    })
}

/// With one field set.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    body.pointer_mut(parent).expect(parent)[name] = value;
    body
}

fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

async fn over_grpc(world: &World, id: &str) -> Value {
    proto_json("bosingak.gift.v1.Gift", &world.get(id).await)
}

/// Turns red when a field of a gift is called or written otherwise than in the protocol, or a secret is told to who must not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_gift_goes_all_the_way_over_http() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let reserved = http.post(GIFTS, gift("g-1")).await;
    assert_eq!(
        (reserved.status, reserved.header("location")),
        (201, "/v1/namespaces/default/gifts/g-1"),
        "{reserved:?}"
    );
    assert_eq!(reserved.json["gift"]["state"], "GIFT_STATE_RESERVED");
    assert_eq!(reserved.json["gift"]["sendAt"], "2027-02-13T15:00:00Z");
    assert_eq!(reserved.json["gift"]["sendAtLocal"]["dateTime"], "2027-02-14T00:00:00");
    assert_eq!(reserved.json["payment"]["capturedWon"], 4_500);
    assert_eq!(reserved.json["replayed"], false);
    let again = http.post(GIFTS, gift("g-1")).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"), "{again:?}");
    let other = http.post(GIFTS, with(gift("g-1"), "/message", json!("다른 말"))).await;
    assert_eq!(other.reason(), (409, "ALREADY_EXISTS"));
    assert_eq!(http.get(&format!("{GIFTS}/g-1?senderId=kim")).await.json, over_grpc(&world, "g-1").await);
    assert_eq!(http.get(&format!("{GIFTS}/g-1?senderId=park")).await.reason(), (404, "NOT_FOUND"));

    world.until_midnight_less(0).await;
    world.until_state("g-1", GiftState::Sent).await;
    assert_eq!(http.get(&format!("{GIFTS}/g-1")).await.json, over_grpc(&world, "g-1").await);
    let late = http.post(&format!("{GIFTS}/g-1/cancel"), json!({ "senderId": "kim" })).await;
    assert_eq!(late.reason(), (409, "WRONG_STATE"));
    assert_eq!(
        (&late.json["metadata"]["state"], &late.json["metadata"]["wanted"]),
        (&json!("SENT"), &json!("CANCELLED"))
    );

    let old = world.token("g-1");
    let opened = http.post(&format!("{LINKS}/open"), json!({ "token": old })).await;
    assert_eq!((&opened.json["code"], &opened.json["passedOn"]), (&json!(""), &json!(false)), "{opened:?}");
    assert_eq!(opened.json["gift"]["sender"]["name"], "김보신");
    assert_eq!(opened.json["gift"]["sender"]["phone"], "", "nobody's address is told");
    assert_eq!(opened.json["now"], "2027-02-13T15:00:00Z");
    let nonce = &opened.json["nonce"];
    let stale = http.post(&format!("{LINKS}/accept"), json!({ "token": old, "nonce": "made up" })).await;
    assert_eq!(stale.reason(), (409, "STALE_LINK"));
    let accepted = http.post(&format!("{LINKS}/accept"), json!({ "token": old, "nonce": nonce })).await;
    assert_eq!(accepted.json["gift"]["state"], "GIFT_STATE_ACCEPTED", "{accepted:?}");
    let first_code = accepted.json["code"].as_str().expect("a code").to_owned();

    let to = |phone: &str| json!({ "token": old, "nonce": nonce, "to": { "name": "박광화", "phone": phone } });
    let own = http.post(&format!("{LINKS}/transfer"), to("010-3333-4444")).await;
    assert_eq!((own.reason(), own.fields()), ((400, "INVALID_FIELD"), vec!["to"]), "who has it already");
    let transferred = http.post(&format!("{LINKS}/transfer"), to("010-5555-6666")).await;
    assert_eq!((transferred.status, &transferred.json["gift"]["transferred"]), (200, &json!(true)), "{transferred:?}");
    assert_eq!(http.post(&format!("{LINKS}/transfer"), to("010-7777-8888")).await.reason(), (409, "STALE_LINK"));
    let new = until(async || Some(world.token("g-1")).filter(|token| *token != old)).await;
    let opened = http.post(&format!("{LINKS}/open"), json!({ "token": new })).await;
    let code = opened.json["code"].as_str().expect("a code").to_owned();
    let second = json!({ "token": new, "nonce": opened.json["nonce"], "to": { "phone": "010-7777-8888" } });
    assert_eq!(http.post(&format!("{LINKS}/transfer"), second).await.reason(), (409, "TOO_LATE"));

    let redeem = |code: &str| json!({ "code": code, "shop": "종로점" });
    assert_eq!(http.post(REDEEM, redeem(&first_code)).await.reason(), (404, "NOT_FOUND"), "the old code is void");
    let key = request_id();
    let redeeming = || http.posting(REDEEM, redeem(&code)).header("idempotency-key", &key);
    let redeemed = http.send(redeeming()).await;
    assert_eq!((redeemed.status, &redeemed.json["replayed"]), (200, &json!(false)), "{redeemed:?}");
    assert_eq!(redeemed.json["gift"]["state"], "GIFT_STATE_USED");
    assert_eq!((redeemed.json["gift"].get("recipient"), &redeemed.json["gift"]["message"]), (None, &json!("")));
    assert_eq!(http.send(redeeming()).await.json["replayed"], true);
    let twice = http.post(REDEEM, redeem(&code)).await;
    assert_eq!((twice.reason(), &twice.json["metadata"]["state"]), ((409, "WRONG_STATE"), &json!("USED")));
    let opened = http.post(&format!("{LINKS}/open"), json!({ "token": new })).await;
    assert_eq!(opened.json["usedAt"], opened.json["now"], "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_lists_changes_and_takes_back() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    // The key stands for the id.
    let mut keyed = gift("");
    keyed["payment"]["paymentKey"] = json!("key-of-g-2");
    let reserving = http.posting(GIFTS, keyed).header("idempotency-key", "g-2");
    let reserved = http.send(reserving).await;
    assert_eq!((reserved.status, &reserved.json["gift"]["id"]), (201, &json!("g-2")), "{reserved:?}");
    // Nine in the morning, where the friend is.
    let mut abroad = gift("g-3");
    abroad["recipient"]["timeZone"] = json!("America/New_York");
    abroad["send"] = json!({ "date": "2027-02-14", "time": "09:00" });
    let reserved = http.post(GIFTS, abroad).await;
    assert_eq!(reserved.json["gift"]["sendAt"], "2027-02-14T14:00:00Z", "{reserved:?}");

    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("{GIFTS}?senderId=kim&pageSize=1&pageToken={token}")).await.json;
        ids.extend(page["gifts"].as_array().expect("a list").iter().map(|one| one["id"].to_string()));
        token = page["nextPageToken"].as_str().expect("text").to_owned();
        if token.is_empty() {
            break;
        }
    }
    ids.sort();
    assert_eq!(ids, ["\"g-2\"", "\"g-3\""]);
    assert_eq!(http.get(&format!("{GIFTS}?senderId=park")).await.json["gifts"], json!([]));

    let path = format!("{GIFTS}/g-2");
    let version = http.get(&path).await.json["version"].clone();
    let change = json!({
        "senderId": "kim", "message": "하루 늦게", "expectedVersion": version,
        "send": { "local": { "dateTime": "2027-02-15T08:00", "timeZone": "Asia/Tokyo" } },
        "recipient": { "name": "박광화", "email": "park@example.com" },
    });
    let edited = http.patch(&path, change.clone()).await;
    assert_eq!((edited.status, &edited.json["gift"]["sendAt"]), (200, &json!("2027-02-14T23:00:00Z")), "{edited:?}");
    assert_eq!(edited.json["gift"], over_grpc(&world, "g-2").await);
    assert_eq!(edited.json["gift"]["recipient"]["email"], "park@example.com");
    assert!(edited.json["receipt"]["logIndex"].as_str().is_some_and(|index| index != "0"), "{edited:?}");
    assert_eq!(http.patch(&path, change).await.reason(), (409, "VERSION_MISMATCH"));
    assert_eq!(http.patch(&path, json!({ "senderId": "park", "message": "x" })).await.reason(), (404, "NOT_FOUND"));

    let key = request_id();
    let cancel =
        || http.posting(&format!("{path}/cancel"), json!({ "senderId": "kim" })).header("idempotency-key", &key);
    let cancelled = http.send(cancel()).await;
    assert_eq!(
        (cancelled.status, &cancelled.json["gift"]["state"], &cancelled.json["replayed"]),
        (200, &json!("GIFT_STATE_CANCELLED"), &json!(false)),
        "{cancelled:?}"
    );
    assert_eq!(http.send(cancel()).await.json["replayed"], true);
    world.until_state("g-2", GiftState::Refunded).await;

    // Half an hour before it is sent it is too late to change it, and not to take it back.
    world.advance(HALF_A_DAY + 23 * 3_600 - 1_800).await;
    let late = http.patch(&format!("{GIFTS}/g-3"), json!({ "message": "x" })).await;
    assert_eq!(late.reason(), (409, "TOO_LATE"));
    assert_eq!(http.post(&format!("{GIFTS}/g-3/cancel"), json!({})).await.status, 200);
}

/// Turns red when a payment's fate is told otherwise than over gRPC.
#[tokio::test(flavor = "multi_thread")]
async fn payments_that_do_not_come_through() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let say = |id: &str, kind| world.script.lock().expect("not poisoned").payments.insert(id.into(), kind);
    say("declined", Kind::Declined);
    let declined = http.post(GIFTS, gift("declined")).await;
    assert_eq!((declined.status, &declined.json["gift"]["state"]), (201, &json!("GIFT_STATE_FAILED")), "{declined:?}");
    assert_eq!(declined.json["payment"]["state"], "PAYMENT_STATE_FAIL");
    say("down", Kind::NotReached);
    let down = http.post(GIFTS, gift("down")).await;
    assert_eq!(down.reason(), (503, "PAYMENT_NOT_REACHED"));
    assert_eq!((down.header("retry-after"), &down.json["retryAfter"]), ("1", &json!("1s")));
    assert_eq!(http.get(&format!("{GIFTS}/down")).await.reason(), (404, "NOT_FOUND"));
    say("slow", Kind::Unknown);
    let slow = http.post(GIFTS, gift("slow")).await;
    assert_eq!((slow.status, &slow.json["gift"]["state"]), (201, &json!("GIFT_STATE_PENDING_PAYMENT")), "{slow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_by_field() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let long = "가".repeat(501);
    for (pointer, value, field) in [
        ("/id", json!("a b"), "id"),
        ("/productId", json!(""), "productId"),
        ("/sender/id", json!(""), "sender.id"),
        ("/recipient/phone", json!("12"), "recipient.phone"),
        ("/recipient/timeZone", json!("KST"), "recipient.timeZone"),
        ("/recipient/nickname", json!("x"), "recipient.nickname"),
        ("/message", json!(long), "message"),
        ("/send", json!({}), "send"),
        ("/send", json!({ "date": "2027-02-30" }), "send.date"),
        ("/send", json!({ "date": "2027-02-14", "time": "9 o'clock" }), "send.time"),
        ("/send", json!({ "local": { "dateTime": "2027-02-30" } }), "send.local.dateTime"),
        ("/send", json!({ "date": "2027-02-14", "at": "2027-02-14T00:00:00Z" }), "send"),
        // Five minutes ahead, and more than a year.
        ("/send", json!({ "date": "2027-02-13", "time": "12:05" }), "send"),
        ("/send", json!({ "at": "2028-02-16T00:00:00Z" }), "send"),
        ("/payment/paymentKey", json!(""), "payment.paymentKey"),
        ("/payment/amountWon", json!(1), "payment.amountWon"),
        ("/payment/amountWon", json!(-4_500), "payment.amountWon"),
    ] {
        let refused = http.post(GIFTS, with(gift("x"), pointer, value.clone())).await;
        assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec![field]), "{pointer} {value}");
    }
    let key = http.posting(GIFTS, gift("x")).header("idempotency-key", "y");
    assert_eq!(http.send(key).await.fields(), ["Idempotency-Key"]);
    assert_eq!(http.post(GIFTS, with(gift("x"), "/productId", json!("tea"))).await.reason(), (404, "NOT_FOUND"));
    assert_eq!(
        http.get(&format!("{GIFTS}?senderId=kim")).await.json["gifts"],
        json!([]),
        "nothing is left of all that"
    );

    assert_eq!(http.get(GIFTS).await.fields(), ["senderId"]);
    assert_eq!(http.get(&format!("{GIFTS}/a%20b")).await.fields(), ["id"]);
    assert_eq!(http.get(&format!("{GIFTS}/nobody")).await.reason(), (404, "NOT_FOUND"));
    let key = http.posting(&format!("{GIFTS}/g/cancel"), json!({})).header("idempotency-key", "order-1");
    assert_eq!(http.send(key).await.fields(), ["Idempotency-Key"]);
    for token in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        let opened = http.post(&format!("{LINKS}/open"), json!({ "token": token })).await;
        assert_eq!(opened.reason(), (404, "NOT_FOUND"), "{token}");
    }
    let redeem = |code: &str, shop: &str| json!({ "code": code, "shop": shop });
    assert_eq!(http.post(REDEEM, redeem("1234", "점")).await.fields(), ["code"]);
    let right_shape = domain::gifticon::code(domain::product::CodeForm::Base32, 7, domain::gifticon::Dice(1));
    assert_eq!(http.post(REDEEM, redeem(&right_shape, "")).await.fields(), ["shop"]);
    assert_eq!(http.post(REDEEM, redeem(&right_shape, "점")).await.reason(), (404, "NOT_FOUND"));

    assert_eq!(http.get("/v1/namespaces/default/attention").await.json["gifts"], json!([]));
    let resolve = format!("{GIFTS}/g/resolve");
    assert_eq!(http.post(&resolve, json!({ "operator": "jung" })).await.fields(), ["wasSent"]);
    assert_eq!(http.post(&resolve, json!({ "wasSent": true })).await.fields(), ["operator"]);
    let nobody = json!({ "wasSent": true, "operator": "jung" });
    assert_eq!(http.post(&resolve, nobody.clone()).await.reason(), (404, "NOT_FOUND"));
    within(world.gifts().reserve(wish("g"))).await.expect("reserved");
    let refused = http.post(&resolve, nobody).await;
    assert_eq!(refused.reason(), (409, "WRONG_STATE"));
    let over_grpc = proto::gift::v1::ResolveGiftRequest {
        gift_id: "g".into(),
        was_sent: true,
        operator: "jung".into(),
        ..Default::default()
    };
    assert_eq!(reason(world.gifts().resolve_gift(over_grpc).await).1, "WRONG_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_key_has_no_gifts() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    assert_eq!(http.post(GIFTS, gift("g")).await.reason(), (409, "NOT_CONFIGURED"));
    one.stop().await;
}

/// Events of a gift, read as a browser would: name, id and data.
async fn next(response: &mut reqwest::Response, text: &mut String) -> Option<(String, String, Value)> {
    loop {
        if let Some((block, rest)) = text.clone().split_once("\n\n") {
            *text = rest.to_owned();
            let field = |name: &str| block.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            let Some(data) = field("data:") else { continue };
            let data = serde_json::from_str(&data).expect("JSON");
            return Some((field("event:").expect("a name"), field("id:").unwrap_or_default(), data));
        }
        let chunk = within(response.chunk()).await.expect("no error")?;
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
}

/// Turns red when a change is not told, the id is not the version, or a browser that comes back is told the same again.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_sees_the_whole_way() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let path = format!("{GIFTS}/g-6/watch");
    assert_eq!(http.get(&path).await.reason(), (404, "NOT_FOUND"));
    assert_eq!(http.get(&format!("{GIFTS}/a%20b/watch")).await.fields(), ["id"]);
    assert_eq!(http.post(GIFTS, gift("g-6")).await.status, 201);
    assert_eq!(http.get(&format!("{path}?senderId=park")).await.reason(), (404, "NOT_FOUND"));
    let open = async |last: &str| {
        let request = http.request(Method::GET, &path).header("last-event-id", last);
        within(request.send()).await.expect("answered")
    };
    let mut watched = open("").await;
    assert_eq!(
        (watched.status().as_u16(), &watched.headers()["content-type"]),
        (200, &"text/event-stream".parse().expect("a value"))
    );
    let mut text = String::new();
    let (name, id, data) = next(&mut watched, &mut text).await.expect("an event");
    http.check_schema(json!({ "$ref": "#/components/schemas/Gift" }), &data, &name);
    assert_eq!((name.as_str(), &data["version"]), ("gift", &json!(id)));
    assert_eq!(data, over_grpc(&world, "g-6").await);
    drop(watched);

    // Back again: nothing is told until something has changed.
    let (mut watched, mut text) = (open(&id).await, String::new());
    assert_eq!(http.post(&format!("{GIFTS}/g-6/cancel"), json!({})).await.status, 200);
    let (mut seen, mut last) = (Vec::new(), id);
    while let Some((_, id, data)) = next(&mut watched, &mut text).await {
        assert_ne!(id, last);
        last = id;
        seen.push(data["state"].as_str().expect("text").to_owned());
    }
    assert!(!seen.contains(&"GIFT_STATE_RESERVED".to_owned()), "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some("GIFT_STATE_REFUNDED"), "the stream ends with the gift: {seen:?}");
    // A browser is told that it need not come back.
    assert_eq!(open(&last).await.status(), 204);
    assert_eq!(open("").await.status(), 200);
}
