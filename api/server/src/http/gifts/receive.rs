//! What recipients and shops do: open a link, accept, pass on, use. For apps; people have the page at `/g/`.

use axum::Json as Answer;
use axum::extract::State;
use proto::gift::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::exchange::Deadline;
use super::super::idempotency::IdempotencyKey;
use super::super::json::{Json, Path};
use super::super::scalars::Moment;
use super::super::{Api, Problem};
use super::views::{Gift, GiftReceipt, Party};

/// A link.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct OpenLink {
    /// The last part of the link. Required.
    #[schema(required)]
    token: String,
}

/// What is behind a link.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenedGift {
    /// The recipient's side: without the sender's addresses.
    gift: Gift,
    /// The link is an earlier holder's: the gift was passed on.
    passed_on: bool,
    /// Once accepted, and while it can be used.
    code: String,
    /// Must come back to accept and to pass on.
    nonce: String,
    /// The cluster's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Moment>,
    /// When a shop took the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Moment>,
}

/// Opens a link. Changes nothing.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/links/open",
    tag = "gifts",
    operation_id = "open_gift",
    params(("namespace" = String, Path, description = "Tenant.", example = "default")),
    request_body = OpenLink,
    responses(
        (status = 200, description = "The gift behind it.", body = OpenedGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn open(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Json(body): Json<OpenLink>,
) -> Result<Answer<OpenedGift>, Problem> {
    let message = v1::OpenGiftRequest { namespace, token: body.token };
    let call = async |message, call| api.services.open_gift(message, call).await;
    let answer = api.call("OpenGift", deadline, message, call).await?;
    Ok(Answer(OpenedGift {
        gift: Gift::of(answer.gift),
        passed_on: answer.passed_on,
        code: answer.code,
        nonce: answer.nonce,
        now: answer.now.map(Moment),
        used_at: answer.used_at.map(Moment),
    }))
}

/// A link, by who opened it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct AcceptLink {
    /// The last part of the link. Required.
    #[schema(required)]
    token: String,
    /// Of the answer when it was opened. Required.
    #[schema(required)]
    nonce: String,
}

/// A gift was accepted.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcceptedGift {
    /// As it is now.
    gift: Gift,
    /// What shops take.
    code: String,
    /// To pass it on.
    nonce: String,
}

/// Accepts the gift behind a link. Again is answered like the first time.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/links/accept",
    tag = "gifts",
    operation_id = "accept_gift",
    params(("namespace" = String, Path, description = "Tenant.", example = "default")),
    request_body = AcceptLink,
    responses(
        (status = 200, description = "It is the recipient's.", body = AcceptedGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn accept(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Json(body): Json<AcceptLink>,
) -> Result<Answer<AcceptedGift>, Problem> {
    let message = v1::AcceptGiftRequest { namespace, token: body.token, nonce: body.nonce };
    let call = async |message, call| api.services.accept_gift(message, call).await;
    let answer = api.call("AcceptGift", deadline, message, call).await?;
    Ok(Answer(AcceptedGift { gift: Gift::of(answer.gift), code: answer.code, nonce: answer.nonce }))
}

/// A link, by who opened it, and who gets the gift instead.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TransferLink {
    /// The last part of the link. Required.
    #[schema(required)]
    token: String,
    /// Of the answer when it was opened. Required.
    #[schema(required)]
    nonce: String,
    /// Somebody else, with a phone number, Kakao id or e-mail address. Required.
    #[schema(required)]
    to: Option<Party>,
}

/// A gift was passed on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferredGift {
    /// As it is now. Whose it is gets a new link.
    gift: Gift,
}

/// Passes the gift behind a link on, once. The link and a code that was seen are void.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/links/transfer",
    tag = "gifts",
    operation_id = "transfer_gift",
    params(("namespace" = String, Path, description = "Tenant.", example = "default")),
    request_body = TransferLink,
    responses(
        (status = 200, description = "It is somebody else's.", body = TransferredGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn transfer(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Json(body): Json<TransferLink>,
) -> Result<Answer<TransferredGift>, Problem> {
    let to = body.to.map(v1::Party::from);
    let message = v1::TransferGiftRequest { namespace, token: body.token, nonce: body.nonce, to };
    let call = async |message, call| api.services.transfer_gift(message, call).await;
    let answer = api.call("TransferGift", deadline, message, call).await?;
    Ok(Answer(TransferredGift { gift: Gift::of(answer.gift) }))
}

/// A code at a shop.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RedeemCode {
    /// As it was typed or scanned. Required.
    #[schema(example = "7QK3 M9XA 20BC 5TRW", required)]
    code: String,
    /// Of the shop; 1 to 64 characters. Required.
    #[schema(example = "종로점", required)]
    shop: String,
    /// A terminal of the shop, `shop` being its id then. Required for codes of digits; checked for others when it is given.
    terminal: String,
    /// What was answered when the terminal was added.
    terminal_secret: String,
}

/// A code was taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedeemedGift {
    /// The product and what the shop needs; no personal data.
    gift: Gift,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<GiftReceipt>,
    /// True when this answers a repeated request.
    replayed: bool,
}

/// Takes a code. For shops.
///
/// A code counts once: WRONG_STATE says that it was taken before, TOO_LATE that it has expired.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/redeem",
    tag = "gifts",
    operation_id = "redeem_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat is answered like the first."),
    ),
    request_body = RedeemCode,
    responses(
        (status = 200, description = "Hand it over.", body = RedeemedGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn redeem(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<RedeemCode>,
) -> Result<Answer<RedeemedGift>, Problem> {
    let request_id = key.request_id()?;
    let RedeemCode { code, shop, terminal, terminal_secret } = body;
    let message =
        v1::RedeemGiftRequest { namespace, code, shop, request_id, terminal, terminal_secret, ..Default::default() };
    let call = async |message, call| api.services.redeem_gift(message, call).await;
    let answer = api.call("RedeemGift", deadline, message, call).await?;
    Ok(Answer(RedeemedGift {
        gift: Gift::of(answer.gift),
        receipt: answer.receipt.map(GiftReceipt::from),
        replayed: answer.replayed,
    }))
}
