//! `/v1/namespaces/{namespace}/payments` and `/reconciliation`: what was paid, and where the money is.

use axum::Json as Answer;
use axum::extract::State;
use proto::payment::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::json::{Path, Query};
use super::scalars::{Moment, Won, names};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(reconcile))
}

names! {
    /// What became of taking the money.
    PaymentState = v1::PaymentState {
        /// Not known to this node.
        Unspecified = "PAYMENT_STATE_UNSPECIFIED",
        /// Nobody has asked the provider yet.
        Ready = "PAYMENT_STATE_READY",
        /// The provider is being asked.
        InProgress = "PAYMENT_STATE_IN_PROGRESS",
        /// Captured.
        Done = "PAYMENT_STATE_DONE",
        /// Not captured, or captured by mistake and on its way back.
        Fail = "PAYMENT_STATE_FAIL",
        /// The provider's answer is not known; it is asked again.
        Unknown = "PAYMENT_STATE_UNKNOWN",
    }
}

names! {
    /// What became of giving it back.
    RefundState = v1::RefundState {
        /// Not asked for.
        Unspecified = "REFUND_STATE_UNSPECIFIED",
        /// The provider is asked to.
        Requested = "REFUND_STATE_REQUESTED",
        /// The money is back.
        Done = "REFUND_STATE_DONE",
        /// The provider refuses: somebody has to see to it.
        Failed = "REFUND_STATE_FAILED",
    }
}

/// A payment.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment {
    /// That of the gift.
    id: String,
    /// Who moves the money.
    #[schema(example = "toss")]
    provider: String,
    /// What the provider calls it.
    payment_key: String,
    /// What the payer paid for.
    order_id: String,
    /// What was to be captured.
    amount_won: Won,
    /// What became of that.
    state: PaymentState,
    /// What was captured.
    captured_won: Won,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    captured_at: Option<Moment>,
    /// In the provider's words.
    method: String,
    /// Whether it goes back.
    refund: RefundState,
    /// When it was back.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_at: Option<Moment>,
    /// The newest error.
    error: String,
}

impl From<v1::Payment> for Payment {
    fn from(payment: v1::Payment) -> Self {
        Payment {
            id: payment.id,
            provider: payment.provider,
            payment_key: payment.payment_key,
            order_id: payment.order_id,
            amount_won: Won::of(payment.amount_won),
            state: PaymentState::of(payment.state),
            captured_won: Won::of(payment.captured_won),
            captured_at: payment.captured_at.map(Moment),
            method: payment.method,
            refund: RefundState::of(payment.refund),
            refunded_at: payment.refunded_at.map(Moment),
            error: payment.error,
        }
    }
}

/// Where the money is. Of a day, what it changed: any of them may be negative.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Balance {
    /// Taken from payers.
    captured_won: Won,
    /// The gift is not sent yet.
    held_won: Won,
    /// The gift is being sent, or the money is on its way back.
    in_transit_won: Won,
    /// The recipient has the gift.
    delivered_won: Won,
    /// Back with the payers.
    refunded_won: Won,
}

impl From<v1::Balance> for Balance {
    fn from(balance: v1::Balance) -> Self {
        Balance {
            captured_won: Won(balance.captured_won),
            held_won: Won(balance.held_won),
            in_transit_won: Won(balance.in_transit_won),
            delivered_won: Won(balance.delivered_won),
            refunded_won: Won(balance.refunded_won),
        }
    }
}

/// What a day changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DayBalance {
    /// A day of Korea.
    #[schema(example = "2027-02-14")]
    date: String,
    /// By how much.
    change: Balance,
}

/// Where the money is, as of a time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Reconciliation {
    /// Every movement up to this moment is in it, and no later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Moment>,
    /// In all.
    total: Balance,
    /// In order; days without a movement are left out.
    days: Vec<DayBalance>,
    /// capturedWon - heldWon - inTransitWon - deliveredWon - refundedWon: 0, unless money was made or lost.
    difference_won: Won,
}

/// Reads the payment of a gift. Linearizable.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/payments/{id}",
    tag = "payments",
    operation_id = "get_payment",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "That of the gift.", example = "gift-1"),
    ),
    responses(
        (status = 200, description = "The payment.", body = Payment),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Payment>, Problem> {
    let message = v1::GetPaymentRequest { namespace, id };
    let call = async |message, call| api.services.get_payment(message, call).await;
    let answer = api.call("GetPayment", deadline, message, call).await?;
    Ok(Answer(Payment::from(answer.payment.unwrap_or_default())))
}

/// As of when.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct AsOf {
    /// A moment that every partition has reached. The latest there is when left out.
    #[param(value_type = Option<String>, format = DateTime)]
    as_of: Option<Moment>,
}

/// Says where the money is, as of a moment. A consistent cut, which never changes once the moment has passed.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/reconciliation",
    tag = "payments",
    operation_id = "reconcile",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), AsOf),
    responses(
        (status = 200, description = "The report.", body = Reconciliation),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn reconcile(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<AsOf>,
) -> Result<Answer<Reconciliation>, Problem> {
    let message = v1::ReconcileRequest { namespace, as_of: query.as_of.map(|Moment(at)| at) };
    let answer =
        api.call("Reconcile", deadline, message, async |m, call| api.services.reconcile(m, call).await).await?;
    let day =
        |day: v1::DayBalance| DayBalance { date: day.date, change: Balance::from(day.change.unwrap_or_default()) };
    Ok(Answer(Reconciliation {
        as_of: answer.as_of.map(Moment),
        total: Balance::from(answer.total.unwrap_or_default()),
        days: answer.days.into_iter().map(day).collect(),
        difference_won: Won(answer.difference_won),
    }))
}
