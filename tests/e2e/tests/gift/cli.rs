//! Gifts by command line.

use std::process::Stdio;
use std::time::Duration;

use gifts::{Options, World};
use proto::gift::v1::GiftState;
use serde_json::Value;
use tokio::process::Command;

struct Said {
    code: i32,
    out: String,
    error: String,
}

async fn bosingak(world: &World, arguments: &[&str]) -> Said {
    let addresses: Vec<String> = world.addresses().iter().map(ToString::to_string).collect();
    let running = Command::new(harness::binary::find("bosingak").expect("built"))
        .args(["--address", &addresses.join(",")])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), running).await;
    let output = output.unwrap_or_else(|_| panic!("{arguments:?} hangs")).expect("it runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        error: String::from_utf8(output.stderr).expect("text"),
    }
}

async fn json(world: &World, arguments: &[&str]) -> Value {
    let said = bosingak(world, &[arguments, &["-o", "json"]].concat()).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.error);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said.out))
}

/// Red when a command says something else than the cluster, or money that was given back is not in the books.
#[tokio::test(flavor = "multi_thread")]
async fn a_gift_is_reserved_taken_back_and_reconciled_by_command_line() {
    let world = World::start(Options { nodes: 1, executors: 1, ..Options::default() }).await.expect("started");
    let product = &["product", "put", "coffee", "--brand", "별다방", "--name", "아메리카노", "--price", "4500"];
    assert_eq!(json(&world, product).await["priceWon"], "4500");
    let listed = bosingak(&world, &["product", "list"]).await;
    assert!(listed.out.contains("4,500 won"), "{}", listed.out);

    let send_at = world.clock().now().await.expect("a time") + jiff::SignedDuration::from_hours(48);
    let send_at = format!("{send_at:.0}");
    let reserve = |id: &'static str, key: String| {
        let words =
            ["gift", "reserve", id, "--product", "coffee", "--sender", "kim", "--sender-phone", "010-1000-0000"];
        let more = ["--to-name", "이종각", "--to-phone", "010-2000-0000", "--message", "축하해", "--at", &send_at];
        let words = words.into_iter().chain(more).map(str::to_owned);
        words.chain(["--payment-key".to_owned(), key]).collect::<Vec<String>>()
    };
    for id in ["gift-kept", "gift-taken-back"] {
        let key = world.pay(id, 4_500).expect("paid").payment_key;
        let arguments = reserve(id, key);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = json(&world, &arguments).await;
        assert_eq!(answer["gift"]["state"], "GIFT_STATE_RESERVED", "{answer}");
    }
    let detail = bosingak(&world, &["gift", "get", "gift-kept"]).await;
    assert!(detail.out.contains("이종각 +821020000000") && detail.out.contains("RESERVED"), "{}", detail.out);
    let edited = bosingak(&world, &["gift", "edit", "gift-kept", "--message", "많이 축하해"]).await;
    assert_eq!(edited.code, 0, "{}", edited.error);
    let cancelled = bosingak(&world, &["gift", "cancel", "gift-taken-back"]).await;
    assert!(cancelled.code == 0 && cancelled.out.contains("4,500 won go back"), "{}{}", cancelled.out, cancelled.error);
    world.until_state("gift-taken-back", GiftState::Refunded).await.expect("paid back");
    let again = bosingak(&world, &["gift", "cancel", "gift-taken-back"]).await;
    assert_eq!(again.code, 4, "{}", again.error);
    let watched = json_lines(&world, &["gift", "watch", "gift-taken-back"]).await;
    assert_eq!(watched.last().map(|gift| gift["state"].clone()), Some("GIFT_STATE_REFUNDED".into()));
    let gifts = json(&world, &["gift", "list", "--sender", "kim"]).await;
    assert_eq!(gifts["gifts"].as_array().map(Vec::len), Some(2), "{gifts}");
    assert_eq!(json(&world, &["gift", "attention"]).await["gifts"], Value::Array(Vec::new()));
    assert_eq!(json(&world, &["payment", "get", "gift-taken-back"]).await["refund"], "REFUND_STATE_DONE");

    let books = world.books().await.expect("reconciled");
    let told = json(&world, &["payment", "reconcile", "--days"]).await;
    assert_eq!(told["total"]["capturedWon"], "9000", "{told}");
    assert_eq!(told["total"]["refundedWon"], "4500", "{told}");
    assert_eq!((books.theirs, books.differences()), ((9_000, 4_500), Vec::new()));
    let table = bosingak(&world, &["payment", "reconcile"]).await;
    assert!(table.out.contains("9,000") && table.code == 0, "{}{}", table.out, table.error);

    for (arguments, code) in [
        (&["gift", "get", "nobody"][..], 3),
        (&["gift", "edit", "gift-kept"], 2),
        (&["gift", "resolve", "gift-kept", "--operator", "lee"], 2),
        (&["payment", "reconcile", "--as-of", "yesterday"], 2),
    ] {
        let said = bosingak(&world, arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.error);
        assert!(said.out.is_empty() && !said.error.is_empty(), "{arguments:?}: {}", said.out);
    }
    world.end().await.expect("ends");
}

async fn json_lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let said = bosingak(world, &[arguments, &["-o", "jsonl"]].concat()).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.error);
    said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
