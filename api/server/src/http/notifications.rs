//! `/v1/namespaces/{namespace}/gifts/{id}/notifications`: what was told about a gift, and what became of it.

use axum::Json as Answer;
use axum::extract::State;
use proto::gift::v1 as gift;
use proto::notification::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::idempotency::IdempotencyKey;
use super::json::{Json, Path, Query};
use super::scalars::{Moment, names};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(retry))
}

names! {
    /// What somebody is told.
    News = v1::News {
        /// Not known to this node.
        Unspecified = "NEWS_UNSPECIFIED",
        /// To the sender: it is reserved.
        Reserved = "NEWS_RESERVED",
        /// To the sender: it was sent.
        Sent = "NEWS_SENT",
        /// To the sender: the recipient took it.
        Received = "NEWS_RECEIVED",
        /// To the sender: it could not be sent, the money comes back.
        Failed = "NEWS_FAILED",
        /// To the sender: nobody can be reached, here is the link to pass on.
        PassOn = "NEWS_PASS_ON",
        /// To the sender: the money is back.
        Refunded = "NEWS_REFUNDED",
        /// To a recipient: somebody passed a gift on to you.
        Arrived = "NEWS_ARRIVED",
        /// To the recipient: it expires soon.
        ExpiresSoon = "NEWS_EXPIRES_SOON",
        /// To the operators: a gift waits for you.
        Attention = "NEWS_ATTENTION",
        /// To the sender, who was answered PENDING_PAYMENT: the payment was declined.
        Declined = "NEWS_DECLINED",
        /// To the operators: a terminal of a shop is locked.
        TerminalLocked = "NEWS_TERMINAL_LOCKED",
    }
}

names! {
    /// A way by which somebody is told.
    NewsChannel = gift::Channel {
        /// None, or not said.
        Unspecified = "CHANNEL_UNSPECIFIED",
        /// KakaoTalk.
        Kakao = "CHANNEL_KAKAO",
        /// A text message to a phone.
        Sms = "CHANNEL_SMS",
        /// E-mail.
        Email = "CHANNEL_EMAIL",
        /// Push to the app.
        Push = "CHANNEL_PUSH",
        /// The operators' room.
        Operator = "CHANNEL_OPERATOR",
    }
}

names! {
    /// What became of a piece of news.
    NotificationState = v1::NotificationState {
        /// Not known to this node.
        Unspecified = "NOTIFICATION_STATE_UNSPECIFIED",
        /// Nobody has tried yet, or somebody is at it for the first time.
        Waiting = "NOTIFICATION_STATE_WAITING",
        /// An attempt failed; it is tried again.
        Retrying = "NOTIFICATION_STATE_RETRYING",
        /// A provider took it.
        Told = "NOTIFICATION_STATE_TOLD",
        /// There was nothing left to tell.
        Moot = "NOTIFICATION_STATE_MOOT",
        /// Given up. It can be tried again.
        Dead = "NOTIFICATION_STATE_DEAD",
    }
}

/// A way to somebody, its address masked.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotificationWay {
    /// Which.
    channel: NewsChannel,
    /// Such as `***78`; empty where there is none to show.
    address: String,
}

/// A piece of news: who is told what about a gift, and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notification {
    /// That of its trigger.
    id: String,
    /// What about.
    gift_id: String,
    /// What.
    news: News,
    /// The name of who is told, masked; empty for operators.
    to: String,
    /// In the order in which they are tried.
    ways: Vec<NotificationWay>,
    /// What became of it.
    state: NotificationState,
    /// Since when it is to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Moment>,
    /// When it was told, found moot, or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Moment>,
    /// That took it.
    channel: NewsChannel,
    /// The provider's name for the message.
    provider_id: String,
    /// Attempts that failed, while its trigger is kept.
    failures: u32,
    /// Why the last one failed.
    last_error: String,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<Moment>,
}

impl From<v1::Notification> for Notification {
    fn from(one: v1::Notification) -> Self {
        let way = |way: v1::Way| NotificationWay { channel: NewsChannel::of(way.channel), address: way.address };
        Notification {
            news: News::of(one.news),
            state: NotificationState::of(one.state),
            channel: NewsChannel::of(one.channel),
            ways: one.ways.into_iter().map(way).collect(),
            created: one.created.map(Moment),
            ended: one.ended.map(Moment),
            next_attempt: one.next_attempt.map(Moment),
            id: one.id,
            gift_id: one.gift_id,
            to: one.to,
            provider_id: one.provider_id,
            failures: one.failures,
            last_error: one.last_error,
        }
    }
}

/// The newest 32 pieces of news about a gift, in order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    /// The oldest first.
    notifications: Vec<Notification>,
}

/// Whose gift it has to be.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct OfSender {
    /// NOT_FOUND when the gift is another sender's.
    sender_id: Option<String>,
}

/// Lists what was told about a gift.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/gifts/{id}/notifications",
    tag = "notifications",
    operation_id = "list_notifications",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Of the gift.", example = "gift-1"),
        OfSender,
    ),
    responses(
        (status = 200, description = "The newest 32.", body = Notifications),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, gift_id)): Path<(String, String)>,
    Query(query): Query<OfSender>,
) -> Result<Answer<Notifications>, Problem> {
    let sender_id = query.sender_id.unwrap_or_default();
    let message = v1::ListNotificationsRequest { namespace, gift_id, sender_id };
    let call = async |message, call| api.services.list_notifications(message, call).await;
    let answer = api.call("ListNotifications", deadline, message, call).await?;
    Ok(Answer(Notifications { notifications: answer.notifications.into_iter().map(Notification::from).collect() }))
}

/// Reads one piece of news.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/notifications/{id}",
    tag = "notifications",
    operation_id = "get_notification",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "bosingak.gift.{gift-1}.notify.4096"),
    ),
    responses(
        (status = 200, description = "As it is.", body = Notification),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Notification>, Problem> {
    let message = v1::GetNotificationRequest { namespace, id };
    let call = async |message, call| api.services.get_notification(message, call).await;
    let answer = api.call("GetNotification", deadline, message, call).await?;
    Ok(Answer(Notification::from(answer.notification.unwrap_or_default())))
}

/// What is to be said to have it tried again: nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TryAgain {}

/// Tries one that was given up again: at once, attempts counted afresh. Any other is NOT_DEAD_LETTERED.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/notifications/{id}/retry",
    tag = "notifications",
    operation_id = "retry_notification",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "bosingak.gift.{gift-1}.notify.4096"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = TryAgain,
    responses(
        (status = 200, description = "It is tried again.", body = Notification),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn retry(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(TryAgain {}): Json<TryAgain>,
) -> Result<Answer<Notification>, Problem> {
    let message = v1::RetryNotificationRequest { namespace, id, request_id: key.request_id()? };
    let call = async |message, call| api.services.retry_notification(message, call).await;
    let answer = api.call("RetryNotification", deadline, message, call).await?;
    Ok(Answer(Notification::from(answer.notification.unwrap_or_default())))
}
