//! Products over HTTP: with the answers gRPC gives, and its refusals.

use proto::product::v1 as product;
use proto::product::v1::product_service_client::ProductServiceClient;
use serde_json::{Value, json};

use crate::server_support::{One, within};
use crate::support::{Http, proto_json};

const PRODUCTS: &str = "/v1/namespaces/default/products";

fn coffee() -> Value {
    json!({
        "name": "아메리카노 Tall", "brand": "별다방", "priceWon": 4500, "onSale": true, "validDays": 60, "codeForm": "digits",
        "imageUrl": "https://img.example/coffee.jpg", "remindDays": [7, 1], "remindHour": 9,
    })
}

/// Turns red when a field is not passed on, or called otherwise than in the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn products_are_put_read_and_listed() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let put = http.put(&format!("{PRODUCTS}/coffee"), coffee()).await;
    assert_eq!((put.status, put.json["priceWon"].as_i64()), (200, Some(4_500)), "{put:?}");
    let mut grpc = ProductServiceClient::new(one.channel.clone());
    let request = product::GetProductRequest { id: "coffee".into(), ..Default::default() };
    let same = within(grpc.get_product(request)).await.expect("found").into_inner().product.expect("a product");
    let expected = product::Product {
        id: "coffee".into(),
        version: 1,
        name: "아메리카노 Tall".into(),
        brand: "별다방".into(),
        price_won: 4_500,
        valid_days: 60,
        image_url: "https://img.example/coffee.jpg".into(),
        code_form: product::CodeForm::Digits.into(),
        on_sale: true,
        remind_days: vec![7, 1],
        remind_hour: Some(9),
    };
    assert_eq!(same, expected);
    assert_eq!(put.json, proto_json("bosingak.product.v1.Product", &same));
    assert_eq!(http.get(&format!("{PRODUCTS}/coffee")).await.json, put.json);
    // The same again changes nothing.
    assert_eq!(http.put(&format!("{PRODUCTS}/coffee"), coffee()).await.json["version"], "1");

    let tea = json!({ "name": "녹차", "brand": "별다방", "priceWon": "5000" });
    let put = http.put(&format!("{PRODUCTS}/tea"), tea).await;
    assert_eq!((put.json["validDays"].as_u64(), &put.json["remindDays"]), (Some(30), &json!([3, 1])), "{put:?}");
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("{PRODUCTS}?pageSize=1&pageToken={token}")).await.json;
        ids.extend(page["products"].as_array().expect("a list").iter().map(|one| one["id"].clone()));
        token = page["nextPageToken"].as_str().expect("text").to_owned();
        if token.is_empty() {
            break;
        }
    }
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, ["coffee", "tea"]);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_product_is_refused_by_field() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let with = |field: &str, value: Value| {
        let mut product = coffee();
        product[field] = value;
        product
    };
    for (path, body, field) in [
        ("coffee", with("name", json!("")), "name"),
        ("coffee", with("priceWon", json!(0)), "priceWon"),
        ("coffee", with("priceWon", json!(-1)), "priceWon"),
        ("coffee", with("validDays", json!(3_651)), "validDays"),
        ("coffee", with("remindDays", json!([1, 3])), "remindDays"),
        ("coffee", with("remindHour", json!(24)), "remindHour"),
        ("coffee", with("codeForm", json!("runes")), "codeForm"),
        ("coffee", with("color", json!("brown")), "color"),
        // What no page could show.
        ("coffee", with("imageUrl", json!("https://img.example; script-src *")), "imageUrl"),
        ("coffee", with("imageUrl", json!("http://img.example/a.jpg")), "imageUrl"),
        ("a%20b", coffee(), "id"),
    ] {
        let refused = http.put(&format!("{PRODUCTS}/{path}"), body.clone()).await;
        assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec![field]), "{path} {body}");
    }
    assert_eq!(http.get(&format!("{PRODUCTS}/coffee")).await.reason(), (404, "NOT_FOUND"));
    assert_eq!(http.put(&format!("{PRODUCTS}/coffee"), coffee()).await.status, 200);
    let mut other = coffee();
    other["priceWon"] = json!(5_000);
    other["expectedVersion"] = json!("7");
    assert_eq!(http.put(&format!("{PRODUCTS}/coffee"), other).await.reason(), (409, "VERSION_MISMATCH"));
    one.stop().await;
}
