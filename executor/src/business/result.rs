//! What comes in with a delivery, and what goes back with its completion.

use client::Error;
use prost::Message;
use prost_types::Any;
use tonic::Code;

use crate::delivery::Delivery;
use crate::outcome::Outcome;

/// Messages of the business services that an executor reports.
pub(super) trait Report: Message + Sized {
    /// Full name of the message.
    const NAME: &'static str;

    /// The outcome that carries it.
    fn report(&self) -> Outcome {
        let type_url = format!("type.googleapis.com/{}", Self::NAME);
        Outcome::Result(Any { type_url, value: self.encode_to_vec() })
    }
}

macro_rules! reports {
    ($($message:ty = $name:literal;)*) => {
        $(impl Report for $message { const NAME: &'static str = $name; })*
    };
}

reports! {
    proto::payment::v1::PaymentOutcome = "bosingak.payment.v1.PaymentOutcome";
    proto::payment::v1::RefundOutcome = "bosingak.payment.v1.RefundOutcome";
    proto::gift::v1::Sent = "bosingak.gift.v1.Sent";
    proto::gift::v1::SendLater = "bosingak.gift.v1.SendLater";
    proto::gift::v1::SendUnknown = "bosingak.gift.v1.SendUnknown";
    proto::gift::v1::SendFound = "bosingak.gift.v1.SendFound";
    proto::notification::v1::Told = "bosingak.notification.v1.Told";
}

/// The payload of a delivery. One that cannot be read never will be.
pub(super) fn work<M: Message + Default>(delivery: &Delivery) -> Result<M, Outcome> {
    M::decode(delivery.payload().clone()).map_err(|error| {
        let name = std::any::type_name::<M>().rsplit("::").next().unwrap_or("message");
        Outcome::fail(format!("payload: the bytes of a {name} expected: {error}"))
    })
}

/// What follows from a call to the cluster that was not answered with what was asked for.
pub(super) fn refused(error: &Error) -> Outcome {
    match error.refusal().map(|refusal| refusal.code) {
        // The same question has the same answer. Everything else, a node of another version or without the settings of gifts included,
        // is mended by somebody while the trigger waits.
        Some(Code::InvalidArgument | Code::NotFound) => Outcome::fail(error),
        _ => Outcome::Retry { error: error.to_string(), after: error.retry_after() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::bytes::Bytes;
    use prost_reflect::DescriptorPool;
    use proto::gift::v1::{Channel, SendWork, Sent};

    fn delivery(payload: &'static [u8]) -> Delivery {
        Delivery::from_proto(proto::v1::Delivery { payload: Bytes::from_static(payload), ..Default::default() })
    }

    /// Red when a name is misspelt: the server could not tell what was reported.
    #[test]
    fn every_name_is_in_the_protocol() {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("descriptors");
        for name in [
            <proto::payment::v1::PaymentOutcome as Report>::NAME,
            <proto::payment::v1::RefundOutcome as Report>::NAME,
            <Sent as Report>::NAME,
            <proto::gift::v1::SendLater as Report>::NAME,
            <proto::gift::v1::SendUnknown as Report>::NAME,
            <proto::gift::v1::SendFound as Report>::NAME,
        ] {
            assert!(pool.get_message_by_name(name).is_some(), "{name}");
        }
        let sent = Sent { gift: "g".into(), round: 1, channel: Channel::Sms.into(), provider_id: "p".into() };
        let Outcome::Result(any) = sent.report() else { panic!("a result") };
        assert_eq!(any.type_url, "type.googleapis.com/bosingak.gift.v1.Sent");
        assert_eq!(Sent::decode(any.value.as_slice()), Ok(sent));
    }

    #[test]
    fn what_cannot_be_read_fails_for_good() {
        let Err(Outcome::Fail { error }) = work::<SendWork>(&delivery(b"\xff")) else { panic!("a failure") };
        assert!(error.starts_with("payload: the bytes of a SendWork expected"), "{error}");
        assert_eq!(work::<SendWork>(&delivery(b"\x0a\x01g\x10\x02")), Ok(SendWork { gift: "g".into(), round: 2 }));
    }
}
