//! What demos and other programs do to the fakes, over HTTP.

use std::net::IpAddr;

use fakes::{Error, Fakes, Options};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

struct Caller {
    http: Client,
    fakes: Fakes,
}

impl Caller {
    async fn new() -> Caller {
        // Without it a client panics, one that only speaks http:// too. Another test may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Caller { http: Client::new(), fakes: Fakes::start(Options::default()).await.expect("ports") }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.fakes.addr())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.http.get(self.url(path))).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.http.post(self.url(path)).body(body.to_string())).await
    }

    /// A call of the merchant.
    async fn toss(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let key = Some("");
        let request = self.http.post(self.url(path)).basic_auth(fakes::toss::SECRET_KEY, key);
        read(request.body(body.to_string())).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let text = response.text().await.expect("a text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn a_customer_pays_and_the_ledger_tells() {
    let caller = Caller::new().await;
    assert_eq!(caller.get("/fake/health").await, (StatusCode::OK, "ok".into()));
    let new = json!({"orderId": "order-1", "amount": 10_000});
    let (status, payment) = caller.post("/fake/toss/payments", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(caller.post("/fake/toss/payments", new).await.0, StatusCode::CONFLICT);
    let confirm = json!({"paymentKey": payment["paymentKey"], "orderId": "order-1", "amount": 10_000});
    let (status, done) = caller.toss("/v1/payments/confirm", confirm).await;
    assert_eq!((status, &done["status"]), (StatusCode::OK, &json!("DONE")));
    let (_, ledger) = caller.get("/fake/toss/ledger").await;
    assert_eq!((&ledger["capturedWon"], &ledger["refundedWon"]), (&json!(10_000), &json!(0)));
    assert_eq!(ledger["payments"][0]["orderId"], "order-1");
    assert_eq!(caller.get("/fake/toss/ledger?limit=0").await.1["payments"], json!([]));
    caller.fakes.shutdown().await;
}

#[tokio::test]
async fn switches_are_set_read_and_refused_by_field() {
    let caller = Caller::new().await;
    let fail =
        json!({"provider": "toss", "mode": "fail", "status": 418, "code": "TEAPOT", "retry_after": 3, "next": 1});
    let (status, list) = caller.post("/fake/switches", fail).await;
    let of_toss = |list: &Value| {
        let all = list["switches"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|switch| switch["provider"] == "toss").expect("a switch")
    };
    assert_eq!((status, &of_toss(&list)["mode"]), (StatusCode::OK, &json!("fail")));
    let (status, error) = caller.toss("/v1/payments/confirm", json!({})).await;
    assert_eq!((status, &error["code"]), (StatusCode::IM_A_TEAPOT, &json!("TEAPOT")));
    let (_, list) = caller.get("/fake/switches").await;
    assert_eq!((&of_toss(&list)["seen"], &of_toss(&list)["hit"]), (&json!(1), &json!(1)));
    // The next one is answered by the provider.
    assert_eq!(caller.toss("/v1/payments/confirm", json!({})).await.1["code"], "INVALID_REQUEST");
    for (body, field) in [
        (json!({"provider": "nobody", "mode": "ok"}), "provider"),
        (json!({"provider": "toss", "mode": "sleepy"}), "mode"),
        (json!({"provider": "toss", "mode": "refuse", "share": 0.5}), "mode"),
        (json!({"provider": "toss", "mode": "ok", "shaer": 0.5}), "body"),
    ] {
        let (status, error) = caller.post("/fake/switches", body).await;
        assert_eq!((status, &error["error"]["field"]), (StatusCode::BAD_REQUEST, &json!(field)));
    }
    caller.fakes.shutdown().await;
}

#[tokio::test]
async fn a_refused_port_is_closed_and_comes_back() {
    let caller = Caller::new().await;
    let own = format!("{}/v1/payments/no-such-key", caller.fakes.url_of(fakes::toss::NAME));
    caller.post("/fake/switches", json!({"provider": "toss", "mode": "refuse"})).await;
    let error = caller.http.get(&own).send().await.expect_err("a closed port");
    assert!(error.is_connect(), "{error:?}");
    // Where it shares a port, the connection is reset.
    let error = caller.http.get(caller.url("/v1/payments/no-such-key")).send().await.expect_err("a reset");
    assert!(!error.is_connect(), "{error:?}");
    caller.post("/fake/switches", json!({"provider": "toss", "mode": "ok"})).await;
    assert_eq!(caller.http.get(&own).send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    caller.fakes.shutdown().await;
}

#[tokio::test]
async fn keys_and_paths_are_checked() {
    let caller = Caller::new().await;
    let path = "/v1/payments/no-such-key";
    assert_eq!(caller.get(path).await.1["code"], "INCORRECT_BASIC_AUTH_FORMAT");
    let stranger = caller.http.get(caller.url(path)).basic_auth("somebody", Some(""));
    assert_eq!(read(stranger).await.1["code"], "UNAUTHORIZED_KEY");
    let merchant = caller.http.get(caller.url(path)).basic_auth(fakes::toss::SECRET_KEY, Some(""));
    assert_eq!(read(merchant).await.1["code"], "NOT_FOUND_PAYMENT");
    let (status, error) = caller.get("/no/such/path").await;
    assert_eq!((status, &error["error"]["field"]), (StatusCode::NOT_FOUND, &json!("path")));
    let long = caller.http.post(caller.url("/v1/payments/confirm")).basic_auth(fakes::toss::SECRET_KEY, Some(""));
    let (_, error) = read(long.header("idempotency-key", "k".repeat(301)).body("{}")).await;
    assert_eq!(error["code"], "INVALID_IDEMPOTENCY_KEY");
    caller.fakes.shutdown().await;
}

#[tokio::test]
async fn they_serve_this_machine_only() {
    let options = Options { host: IpAddr::from([0, 0, 0, 0]), ..Options::default() };
    assert!(matches!(Fakes::start(options).await, Err(Error::NotLoopback(_))));
}
