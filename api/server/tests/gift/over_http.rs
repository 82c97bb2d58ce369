//! What was told, and shops, over HTTP/JSON: the same as over gRPC.

use proto::notification::v1::News;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{until, within};
use crate::world::{World, wish};

/// A caller of the one node.
struct Http(String, reqwest::Client);

impl Http {
    fn of(world: &World) -> Http {
        // Without it a client panics, one that only speaks http:// too. Somebody else may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = world.one.server.addresses().client;
        Http(format!("http://{address}/v1/namespaces/default"), reqwest::Client::new())
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.1.request(method, format!("{}/{path}", self.0));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = within(request.send()).await.expect("answered");
        let status = response.status().as_u16();
        let body = within(response.bytes()).await.expect("whole");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, json!({})).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn news_are_listed_and_tried_again() {
    let world = World::start().await;
    let http = Http::of(&world);
    world.script.lock().expect("not poisoned").untold.insert(News::Reserved, "3104".into());
    within(world.gifts().reserve(wish("g"))).await.expect("reserved");
    let in_state = async |state: &str| {
        until(async || {
            let (status, found) = http.get("gifts/g/notifications?senderId=kim").await;
            assert_eq!(status, 200, "{found}");
            let one = found["notifications"][0].clone();
            Some(one).filter(|one| one["state"] == state)
        })
        .await
    };
    let dead = in_state("NOTIFICATION_STATE_DEAD").await;
    assert_eq!(
        (&dead["news"], &dead["to"], &dead["lastError"]),
        (&json!("NEWS_RESERVED"), &json!("김***"), &json!("3104"))
    );
    assert_eq!(dead["ways"][0], json!({ "channel": "CHANNEL_KAKAO", "address": "***22" }));
    let path = format!("notifications/{}", dead["id"].as_str().expect("text").replace('{', "%7B").replace('}', "%7D"));
    assert_eq!(http.get(&path).await, (200, dead));

    world.script.lock().expect("not poisoned").untold.clear();
    let (status, again) = http.ask(Method::POST, &format!("{path}/retry"), json!({})).await;
    assert_eq!(status, 200, "{again}");
    let told = in_state("NOTIFICATION_STATE_TOLD").await;
    assert_eq!((&told["channel"], &told["providerId"]), (&json!("CHANNEL_KAKAO"), &json!("message-of-NEWS_RESERVED")));
    let (status, problem) = http.ask(Method::POST, &format!("{path}/retry"), json!({})).await;
    assert_eq!((status, &problem["reason"]), (409, &json!("NOT_DEAD_LETTERED")));
    for (path, status, reason) in [
        ("gifts/g/notifications?senderId=lee", 404, "NOT_FOUND"),
        ("gifts/a%20b/notifications", 400, "INVALID_FIELD"),
        ("notifications/mine", 400, "INVALID_FIELD"),
        ("notifications/bosingak.gift.%7Bg%7D.notify.7", 404, "NOT_FOUND"),
    ] {
        let (found, problem) = http.get(path).await;
        assert_eq!((found, &problem["reason"]), (status, &json!(reason)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shops_and_terminals_are_kept() {
    let world = World::start().await;
    let http = Http::of(&world);
    let put = |name: &str, version: u64| {
        http.ask(Method::PUT, "shops/jongno", json!({ "name": name, "expectedVersion": version }))
    };
    assert_eq!(put("종로점", 0).await, (200, json!({ "id": "jongno", "name": "종로점", "version": "1" })));
    assert_eq!(put("종로 본점", 1).await.0, 200);
    let (status, problem) = put("다른 이름", 1).await;
    assert_eq!((status, &problem["reason"]), (409, &json!("VERSION_MISMATCH")));
    let (status, added) = http.ask(Method::POST, "shops/jongno/terminals", json!({ "id": "till-1" })).await;
    assert_eq!((status, added["secret"].as_str().map(str::len)), (200, Some(32)), "{added}");
    let (status, problem) = http.ask(Method::POST, "shops/jongno/terminals", json!({ "id": "till-1" })).await;
    assert_eq!((status, &problem["reason"]), (409, &json!("ALREADY_EXISTS")));
    let (status, found) = http.get("shops/jongno").await;
    assert_eq!(
        (status, &found["shop"]["name"], &found["terminals"][0]["id"]),
        (200, &json!("종로 본점"), &json!("till-1"))
    );
    assert!(
        found["terminals"][0].get("secret").is_none() && found["terminals"][0].get("lockedUntil").is_none(),
        "{found}"
    );
    assert_eq!(http.get("shops").await.1["shops"][0]["id"], "jongno");
    let (status, unlocked) = http.ask(Method::POST, "shops/jongno/terminals/till-1/unlock", json!({})).await;
    assert_eq!((status, &unlocked["failures"]), (200, &json!(0)));
    let (status, revoked) = http.ask(Method::POST, "shops/jongno/terminals/till-1/revoke", json!({})).await;
    assert!(status == 200 && revoked.get("revoked").is_some(), "{revoked}");
    for (method, path, body, status, reason) in [
        (Method::GET, "shops/busan", json!({}), 404, "NOT_FOUND"),
        (Method::GET, "shops/a%20b", json!({}), 400, "INVALID_FIELD"),
        (Method::PUT, "shops/jongno", json!({ "name": "" }), 400, "INVALID_FIELD"),
        (Method::PUT, "shops/jongno", json!({ "title": "x" }), 400, "INVALID_FIELD"),
        (Method::POST, "shops/jongno/terminals", json!({ "id": "a b" }), 400, "INVALID_FIELD"),
        (Method::POST, "shops/busan/terminals", json!({ "id": "till-1" }), 404, "NOT_FOUND"),
        (Method::POST, "shops/jongno/terminals/till-9/revoke", json!({}), 404, "NOT_FOUND"),
    ] {
        let (found, problem) = http.ask(method, path, body).await;
        assert_eq!((found, &problem["reason"]), (status, &json!(reason)), "{path}");
    }
}
