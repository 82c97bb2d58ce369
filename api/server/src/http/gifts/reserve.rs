//! Reserving a gift, and changing it before it is sent.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use proto::gift::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::exchange::Deadline;
use super::super::idempotency::{IdempotencyKey, REPLAYED};
use super::super::json::{Json, Path};
use super::super::payments::Payment;
use super::super::scalars::{Moment, Number, Won};
use super::super::views::LocalTimePolicy;
use super::super::{Api, Problem};
use super::views::{Gift, GiftReceipt, Party};

/// When a gift is to be sent: `date`, with `time` or without; or `local`; or `at`. 10 minutes to 366 days ahead.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SendTime {
    /// A day in the recipient's zone: its midnight, unless there is a time.
    #[schema(example = "2027-02-14")]
    date: Option<String>,
    /// A time of that day.
    #[schema(example = "09:30")]
    time: Option<String>,
    /// The same in one word, and in another zone than the recipient's.
    local: Option<SendLocalTime>,
    /// A moment.
    at: Option<Moment>,
}

/// A wall-clock time, in the recipient's zone unless it names one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SendLocalTime {
    /// A day and a time, or a day alone for its midnight. Required.
    #[schema(example = "2027-02-14T09:30", required)]
    date_time: String,
    /// IANA name; the recipient's when left out.
    #[schema(example = "America/New_York")]
    time_zone: String,
    /// For a time that a clock change skipped or doubled.
    policy: Option<LocalTimePolicy>,
}

impl SendTime {
    fn into_proto(self) -> Result<v1::SendTime, Problem> {
        use v1::send_time::When;
        let local = |date_time, time_zone, policy: Option<LocalTimePolicy>| {
            let policy = policy.map_or(0, LocalTimePolicy::number);
            When::Local(proto::v1::LocalTime { date_time, time_zone, policy, tzdb_version: String::new() })
        };
        if self.time.is_some() && self.date.is_none() {
            return Err(Problem::field("send.date", "expected a day beside the time, such as 2027-02-14"));
        }
        let day = match self.date {
            Some(date) => Some(local(day(&date, self.time.as_deref())?, String::new(), None)),
            None => None,
        };
        let mut given = [
            day,
            self.local.map(|given| local(given.date_time, given.time_zone, given.policy)),
            self.at.map(|Moment(at)| When::At(at)),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            // None at all is what the service looks for.
            (when, None) => Ok(v1::SendTime { when }),
            _ => Err(Problem::field("send", "expected one of date, local, at, got more")),
        }
    }
}

/// A day, or a time of a day, as the protocol has them.
fn day(date: &str, time: Option<&str>) -> Result<String, Problem> {
    if date.len() != "2027-02-14".len() || date.parse::<jiff::civil::Date>().is_err() {
        return Err(Problem::field("send.date", format!("expected a day such as 2027-02-14, got {date:?}")));
    }
    let Some(time) = time else { return Ok(date.to_owned()) };
    if !time.starts_with(|c: char| c.is_ascii_digit()) || time.parse::<jiff::civil::Time>().is_err() {
        return Err(Problem::field("send.time", format!("expected a time such as 09:30, got {time:?}")));
    }
    Ok(format!("{date}T{time}"))
}

/// What was paid for the gift.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PaymentRequest {
    /// Who moves the money; the one the cluster is configured with when left out.
    #[schema(example = "toss")]
    provider: String,
    /// What the provider's widget answered the payer. Required.
    #[schema(required)]
    payment_key: String,
    /// What the payer paid for: the id of the gift, which is also meant when this is left out.
    order_id: String,
    /// Must be the price of the product. Required.
    #[schema(required)]
    amount_won: Won,
}

/// A gift to reserve. Same fields and ranges as ReserveRequest of the protocol.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ReserveGift {
    /// What a repeat is known by: 1 to 64 characters of [A-Za-z0-9_-]. The Idempotency-Key when left out; one of the two is required.
    #[schema(example = "gift-1", max_length = 64)]
    id: String,
    /// What is given. Required.
    #[schema(example = "coffee", required)]
    product_id: String,
    /// Who gives; with an id. Required.
    #[schema(required)]
    sender: Option<Party>,
    /// Who gets it, with a phone number, Kakao id or e-mail address; without any of them the sender gets the link to pass on.
    recipient: Option<Party>,
    /// At most 500 characters (Unicode scalar values).
    #[schema(example = "축하해 🎁")]
    message: String,
    /// Required.
    #[schema(required)]
    send: Option<SendTime>,
    /// Required.
    #[schema(required)]
    payment: Option<PaymentRequest>,
}

impl ReserveGift {
    fn into_proto(self, namespace: String, key: IdempotencyKey) -> Result<v1::ReserveRequest, Problem> {
        let payment = |given: PaymentRequest| v1::PaymentRequest {
            provider: given.provider,
            payment_key: given.payment_key,
            order_id: given.order_id,
            amount_won: given.amount_won.0.unsigned_abs(),
        };
        Ok(v1::ReserveRequest {
            namespace,
            gift_id: key.or_id(self.id)?,
            product_id: self.product_id,
            sender: self.sender.map(v1::Party::from),
            recipient: self.recipient.map(v1::Party::from),
            message: self.message,
            send: self.send.map(SendTime::into_proto).transpose()?,
            payment: self.payment.map(payment),
        })
    }
}

/// A gift was reserved, or its payment was declined: the state says which.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReservedGift {
    /// RESERVED; PENDING_PAYMENT when the payment's fate is not known yet; FAILED when it was declined.
    gift: Gift,
    /// What became of the money.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Payment>,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<GiftReceipt>,
    /// True when this answers a repeated request.
    replayed: bool,
}

/// Reserves a gift and takes the money.
///
/// Waits for the payment as long as the call may take. The id is what a repeat is known by: the same request again is answered with
/// the gift as it is then, with 200; the same id with another content is ALREADY_EXISTS. PAYMENT_NOT_REACHED: nothing was asked of
/// the provider and nothing is left; repeat it.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/gifts",
    tag = "gifts",
    operation_id = "reserve_gift",
    params(
        ("namespace" = String, Path, description = "Tenant: 1 to 64 characters of [a-z0-9-].", example = "default"),
        ("Idempotency-Key" = Option<String>, Header, description = "Stands for an id that is left out; else equal to it."),
        ("Request-Timeout" = Option<String>, Header, description = "How long the caller waits, such as 5s."),
    ),
    request_body = ReserveGift,
    responses(
        (status = 201, description = "Reserved, or not paid.", body = ReservedGift, headers(("Location" = String, description = "The gift."))),
        (status = 200, description = "It had been before, by the same request.", body = ReservedGift,
            headers(("Idempotency-Replayed" = String, description = "true"))),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reserve(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ReserveGift>,
) -> Result<(StatusCode, HeaderMap, Answer<ReservedGift>), Problem> {
    let by_day = body.send.as_ref().is_some_and(|send| send.date.is_some());
    let message = body.into_proto(namespace, key)?;
    // Where the gift is found is said in the words of the caller.
    let namespace = if message.namespace.is_empty() { "default".to_owned() } else { message.namespace.clone() };
    let call = async |message, call| api.services.reserve_gift(message, call).await;
    let answer = api.call("Reserve", deadline, message, call).await;
    let answer = answer.map_err(|problem| problem.with_fields(|field| of_body(field, by_day)).told_once())?;
    let answer = ReservedGift {
        gift: Gift::of(answer.gift),
        payment: answer.payment.map(Payment::from),
        receipt: answer.receipt.map(GiftReceipt::from),
        replayed: answer.replayed,
    };
    let mut headers = HeaderMap::new();
    if answer.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        return Ok((StatusCode::OK, headers, Answer(answer)));
    }
    // Neither namespaces nor ids of gifts have characters that a path would encode.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/namespaces/{namespace}/gifts/{}", answer.gift.id)) {
        headers.insert(LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Answer(answer)))
}

/// A change of a gift: what is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct EditGift {
    /// NOT_FOUND when the gift is another sender's. Left out: whoever's.
    #[schema(example = "kim")]
    sender_id: String,
    /// Instead of the one there is.
    recipient: Option<Party>,
    /// At most 500 characters.
    message: Option<String>,
    /// Another time.
    send: Option<SendTime>,
    /// Only if this is still the version: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_version: Number,
}

/// A gift was changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EditedGift {
    /// As it is now.
    gift: Gift,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<GiftReceipt>,
}

/// Changes recipient, message or time, until an hour before it is sent. TOO_LATE says that it was too late.
#[utoipa::path(
    patch,
    path = "/v1/namespaces/{namespace}/gifts/{id}",
    tag = "gifts",
    operation_id = "edit_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "gift-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat changes nothing."),
    ),
    request_body = EditGift,
    responses(
        (status = 200, description = "It is so from now on.", body = EditedGift),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn edit(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, gift_id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<EditGift>,
) -> Result<Answer<EditedGift>, Problem> {
    let by_day = body.send.as_ref().is_some_and(|send| send.date.is_some());
    let message = v1::EditGiftRequest {
        namespace,
        gift_id,
        sender_id: body.sender_id,
        request_id: key.request_id()?,
        expected_version: body.expected_version.0,
        recipient: body.recipient.map(v1::Party::from),
        message: body.message,
        send: body.send.map(SendTime::into_proto).transpose()?,
    };
    let call = async |message, call| api.services.edit_gift(message, call).await;
    let answer = api.call("EditGift", deadline, message, call).await;
    let answer = answer.map_err(|problem| problem.with_fields(|field| of_body(field, by_day)).told_once())?;
    Ok(Answer(EditedGift { gift: Gift::of(answer.gift), receipt: answer.receipt.map(GiftReceipt::from) }))
}

/// Fields of the protocol as they are called in the body: the id is that of the gift, and a day may have been given as such.
fn of_body(field: &str, by_day: bool) -> String {
    match field {
        "giftId" => "id",
        "sendAt" => "send",
        "send.local.dateTime" if by_day => "send.date",
        // Of a day that is in the recipient's zone.
        "send.local.timeZone" if by_day => "recipient.timeZone",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(send: &str) -> Result<Option<v1::send_time::When>, Problem> {
        let given: SendTime = serde_json::from_str(send).expect("JSON");
        given.into_proto().map(|found| found.when)
    }

    #[test]
    fn a_day_alone_and_a_day_with_a_time_are_local_times_of_the_recipient() {
        for (send, expected) in [
            (r#"{ "date": "2027-02-14" }"#, "2027-02-14"),
            (r#"{ "date": "2027-02-14", "time": "09:30" }"#, "2027-02-14T09:30"),
            (r#"{ "local": { "dateTime": "2027-02-14T09:30:15" } }"#, "2027-02-14T09:30:15"),
        ] {
            match read(send) {
                Ok(Some(v1::send_time::When::Local(local))) => {
                    assert_eq!((local.date_time.as_str(), local.time_zone.as_str()), (expected, ""), "{send}");
                }
                other => panic!("{send}: {other:?}"),
            }
        }
        assert!(matches!(read("{}"), Ok(None)), "that is for the service to refuse");
    }

    #[test]
    fn what_is_no_day_or_more_than_one_is_refused() {
        for send in [
            r#"{ "time": "09:30" }"#,
            r#"{ "date": "2027-02-30" }"#,
            r#"{ "date": "2027-02-14T09:30" }"#,
            r#"{ "date": "tomorrow" }"#,
            r#"{ "date": "2027-02-14", "time": "25:00" }"#,
            r#"{ "date": "2027-02-14", "time": "T09:30" }"#,
            r#"{ "date": "2027-02-14", "at": "2027-02-14T00:00:00Z" }"#,
        ] {
            assert!(read(send).is_err(), "{send}");
        }
    }
}
