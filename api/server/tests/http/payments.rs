//! Payments and the reconciliation over HTTP: with the answers gRPC gives.

use proto::payment::v1 as payment;
use proto::payment::v1::payment_service_client::PaymentServiceClient;
use serde_json::json;

use crate::server_support::{until, within};
use crate::support::{Http, proto_json};
use crate::world::{World, wish};

const DEFAULT: &str = "/v1/namespaces/default";

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_read_and_the_money_reconciles() {
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    within(world.gifts().reserve(wish("g-1"))).await.expect("reserved");
    let mut grpc = PaymentServiceClient::new(world.one.channel.clone());
    let request = payment::GetPaymentRequest { id: "g-1".into(), ..Default::default() };
    let same = within(grpc.get_payment(request)).await.expect("found").into_inner().payment.expect("a payment");
    let found = http.get(&format!("{DEFAULT}/payments/g-1")).await;
    assert_eq!(found.json, proto_json("bosingak.payment.v1.Payment", &same));
    assert_eq!(
        (found.json["state"].as_str(), found.json["capturedWon"].as_i64()),
        (Some("PAYMENT_STATE_DONE"), Some(4_500))
    );
    assert_eq!(http.get(&format!("{DEFAULT}/payments/nobody")).await.reason(), (404, "NOT_FOUND"));

    // A partition where nothing happens comes to know the time with its next canary.
    let now = world.advance(0).await;
    let report = until(async || {
        world.advance(10).await;
        let report = http.get(&format!("{DEFAULT}/reconciliation")).await;
        (report.json["total"]["capturedWon"] == 4_500).then_some(report)
    })
    .await;
    assert_eq!((&report.json["total"]["heldWon"], &report.json["differenceWon"]), (&json!(4_500), &json!(0)));
    let as_of = report.json["asOf"].as_str().expect("a moment").to_owned();
    let moment: jiff::Timestamp = as_of.parse().expect("a moment");
    assert!(moment.as_second() >= now, "{as_of}");
    // The same moment, the same report, from both.
    let nanos = moment.subsec_nanosecond();
    let as_of_proto = Some(prost_types::Timestamp { seconds: moment.as_second(), nanos });
    let request = payment::ReconcileRequest { as_of: as_of_proto, ..Default::default() };
    let same = within(grpc.reconcile(request)).await.expect("reconciled").into_inner();
    let again = http.get(&format!("{DEFAULT}/reconciliation?asOf={as_of}")).await;
    assert_eq!(again.json, proto_json("bosingak.payment.v1.ReconcileResponse", &same));
    assert_eq!(again.json["days"][0]["date"], "2027-02-13");

    for (query, field) in [("asOf=2050-01-01T00:00:00Z", "asOf"), ("asOf=yesterday", "asOf"), ("as_of=x", "asOf")] {
        let refused = http.get(&format!("{DEFAULT}/reconciliation?{query}")).await;
        assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec![field]), "{query}");
    }
}
