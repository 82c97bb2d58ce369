//! Messages of the protocol as JSON, by its own descriptors: what is printed is what the API says, in camelCase.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::failure::Failure;

/// The protocol's own description of its messages.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the descriptors are made by the build"));

/// A message whose full name is known.
pub trait Named: Message {
    /// As in the .proto file.
    const NAME: &'static str;
}

mod modules {
    pub use proto::admin::v1 as admin;
    pub use proto::gift::v1 as gift;
    pub use proto::payment::v1 as payment;
    pub use proto::product::v1 as product;
    pub use proto::v1;
}

macro_rules! all_named {
    ($package:literal, $path:ident: $($message:ident)*) => {
        $(impl Named for modules::$path::$message {
            const NAME: &'static str = concat!($package, ".", stringify!($message));
        })*
    };
}

all_named!("bosingak.v1", v1: Trigger Receipt ScheduleRequest ScheduleResponse CancelResponse RescheduleResponse
    RunNowResponse WatchResponse ForecastResponse Topic RequeueDeadLetterResponse DropDeadLetterResponse Delivery);
all_named!("bosingak.admin.v1", admin: StatusResponse TransferLeaderResponse AddNodeResponse RemoveNodeResponse
    DrainNodeResponse AcceptClockResponse AdvanceClockResponse ExecutorStatus LateTrigger);
all_named!("bosingak.product.v1", product: Product);
all_named!("bosingak.gift.v1", gift: Gift ReserveResponse EditGiftResponse CancelGiftResponse OpenGiftResponse
    RedeemGiftResponse);
all_named!("bosingak.payment.v1", payment: Payment ReconcileResponse);

/// A message as JSON. Fields at their default are there too, so that scripts need not guess; a payload that is text is
/// also there as text.
pub fn value<M: Named>(message: &M) -> Result<Value, Failure> {
    let failed = |error: String| Failure::error(format!("{} as JSON: {error}", M::NAME));
    let descriptor = POOL.get_message_by_name(M::NAME).ok_or_else(|| failed("unknown".to_owned()))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| failed(error.to_string()))?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut value = dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| failed(error.to_string()))?;
    add_payload_text(&mut value);
    Ok(value)
}

/// A message from JSON; unknown fields are refused.
pub fn message<M: Named + Default>(value: Value) -> Result<M, String> {
    let descriptor = POOL.get_message_by_name(M::NAME).ok_or("unknown message")?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic =
        DynamicMessage::deserialize_with_options(descriptor, value, &options).map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

/// Beside every `payload` in base64, `payloadText` when it is text.
fn add_payload_text(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(add_payload_text);
            let bytes =
                object.get("payload").and_then(Value::as_str).and_then(|text| BASE64_STANDARD.decode(text).ok());
            if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
                object.insert("payloadText".to_owned(), text.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(add_payload_text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::{ScheduleRequest, Trigger};

    #[test]
    fn payloads_are_shown_in_both_forms() {
        let text = Trigger { payload: "보신각".into(), ..Trigger::default() };
        let value = value(&text).expect("it is a message");
        assert_eq!(value["payloadText"], "보신각");
        assert_eq!(value["payload"], "67O07Iug6rCB");
        assert_eq!(value["generation"], "0");
        let bytes = Trigger { payload: vec![0xff].into(), ..Trigger::default() };
        let value = super::value(&bytes).expect("it is a message");
        assert_eq!(value["payload"], "/w==");
        assert!(value.get("payloadText").is_none());
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let request = ScheduleRequest { id: "x".into(), topic: "t".into(), ..Default::default() };
        let printed = value(&request).expect("it is a message");
        let mut printed = printed.as_object().expect("an object").clone();
        printed.remove("payloadText");
        assert_eq!(message::<ScheduleRequest>(printed.into()), Ok(request));
        let unknown = serde_json::json!({ "topik": "t" });
        assert!(message::<ScheduleRequest>(unknown).is_err_and(|error| error.contains("topik")));
    }
}
