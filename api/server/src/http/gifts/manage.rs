//! What senders and operators do with gifts: look, take back, find out.

use axum::Json as Answer;
use axum::extract::State;
use proto::gift::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::exchange::Deadline;
use super::super::idempotency::IdempotencyKey;
use super::super::json::{Json, Path, Query};
use super::super::scalars::Number;
use super::super::{Api, Problem};
use super::views::{Gift, GiftPage, GiftReceipt};

/// Whose gifts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct OfSender {
    /// Of this sender. Required.
    #[param(value_type = String, example = "kim", required)]
    sender_id: Option<String>,
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// Lists the gifts of a sender, the newest first within each partition.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/gifts",
    tag = "gifts",
    operation_id = "list_gifts",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), OfSender),
    responses(
        (status = 200, description = "A page.", body = GiftPage),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<OfSender>,
) -> Result<Answer<GiftPage>, Problem> {
    let message = v1::ListGiftsRequest {
        namespace,
        sender_id: query.sender_id.unwrap_or_default(),
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let page = api.call("ListGifts", deadline, message, async |m, _| api.services.list_gifts(m)).await?;
    Ok(Answer(GiftPage::of(page.gifts, page.next_page_token)))
}

/// Whose gift.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct AsSender {
    /// NOT_FOUND when the gift is another sender's. Left out: whoever's.
    #[param(example = "kim")]
    pub sender_id: Option<String>,
}

/// Reads a gift. Linearizable.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/gifts/{id}",
    tag = "gifts",
    operation_id = "get_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "gift-1"),
        AsSender,
    ),
    responses(
        (status = 200, description = "The gift.", body = Gift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, gift_id)): Path<(String, String)>,
    Query(query): Query<AsSender>,
) -> Result<Answer<Gift>, Problem> {
    let message = v1::GetGiftRequest { namespace, gift_id, sender_id: query.sender_id.unwrap_or_default() };
    let answer = api.call("GetGift", deadline, message, async |m, call| api.services.get_gift(m, call).await).await;
    Ok(Answer(Gift::of(answer.map_err(|problem| problem.with_fields(of_path))?.gift)))
}

/// Which version of whose gift.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct CancelGift {
    /// NOT_FOUND when the gift is another sender's. Left out: whoever's.
    #[schema(example = "kim")]
    sender_id: String,
    /// Only if this is still the version: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_version: Number,
}

/// A gift was taken back.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelledGift {
    /// As it is now.
    gift: Gift,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<GiftReceipt>,
    /// True when this answers a repeated request.
    replayed: bool,
}

/// Takes a gift back, until the moment it is sent: the log decides.
///
/// The money goes back. TOO_LATE, or WRONG_STATE with both states, says that it was too late.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/gifts/{id}/cancel",
    tag = "gifts",
    operation_id = "cancel_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "gift-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat is answered with the gift as it is."),
    ),
    request_body = CancelGift,
    responses(
        (status = 200, description = "It will never be sent.", body = CancelledGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, gift_id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<CancelGift>,
) -> Result<Answer<CancelledGift>, Problem> {
    let message = v1::CancelGiftRequest {
        namespace,
        gift_id,
        sender_id: body.sender_id,
        request_id: key.request_id()?,
        expected_version: body.expected_version.0,
    };
    let call = async |message, call| api.services.cancel_gift(message, call).await;
    let answer = api.call("CancelGift", deadline, message, call).await;
    let answer = answer.map_err(|problem| problem.with_fields(of_path))?;
    Ok(Answer(CancelledGift {
        gift: Gift::of(answer.gift),
        receipt: answer.receipt.map(GiftReceipt::from),
        replayed: answer.replayed,
    }))
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichPage {
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// Lists gifts that wait for a human. For operators; `trouble` says why.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/attention",
    tag = "gifts",
    operation_id = "list_attention",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), WhichPage),
    responses(
        (status = 200, description = "A page.", body = GiftPage),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn attention(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<WhichPage>,
) -> Result<Answer<GiftPage>, Problem> {
    let message = v1::ListAttentionRequest {
        namespace,
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let page = api.call("ListAttention", deadline, message, async |m, _| api.services.list_attention(m)).await?;
    Ok(Answer(GiftPage::of(page.gifts, page.next_page_token)))
}

/// What an operator has found out.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ResolveGift {
    /// True: the recipient has it. False: nobody has; the money goes back. Required.
    #[schema(value_type = bool, required)]
    was_sent: Option<bool>,
    /// Who says so: 1 to 64 characters. Required.
    #[schema(example = "jung", required)]
    operator: String,
}

/// Settles whether a gift in SEND_UNKNOWN was sent. For operators.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/gifts/{id}/resolve",
    tag = "gifts",
    operation_id = "resolve_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "gift-1"),
    ),
    request_body = ResolveGift,
    responses(
        (status = 200, description = "The gift as it is now.", body = Gift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resolve(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, gift_id)): Path<(String, String)>,
    Json(body): Json<ResolveGift>,
) -> Result<Answer<Gift>, Problem> {
    // Left out it would mean that nobody has the gift, and give the money back.
    let Some(was_sent) = body.was_sent else { return Err(Problem::field("wasSent", "expected true or false")) };
    let message = v1::ResolveGiftRequest { namespace, gift_id, was_sent, operator: body.operator };
    let call = async |message, call| api.services.resolve_gift(message, call).await;
    let answer = api.call("ResolveGift", deadline, message, call).await;
    Ok(Answer(Gift::of(answer.map_err(|problem| problem.with_fields(of_path))?.gift)))
}

/// The id of the gift is what the path calls the id.
pub(super) fn of_path(field: &str) -> String {
    if field == "giftId" { "id".to_owned() } else { field.to_owned() }
}
