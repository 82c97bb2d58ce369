//! What the page of a gift is told, out of what the service answers.

use domain::gifticon;
use pages::{CodeView, GiftState, GiftView, Notice, ProductView};
use prost_types::Timestamp as Moment;
use proto::gift::v1;
use proto::product::v1::CodeForm;
use scheduler::time::Timestamp;

use super::Visit;

/// Where people are of whom nobody knows.
const ZONE: &str = "Asia/Seoul";
/// Where a page has no form; every view has a nonce.
const NO_NONCE: &str = "-";

/// The gift as its recipient may see it. `now` is this node's time, for answers of nodes that do not say the cluster's.
pub(super) fn gift(visit: &Visit, opened: v1::OpenGiftResponse, now: Timestamp, notice: Option<Notice>) -> GiftView {
    let state = state(&opened);
    let nonce = if opened.nonce.is_empty() { NO_NONCE.to_owned() } else { opened.nonce };
    let gift = opened.gift.unwrap_or_default();
    let zone = gift.recipient.as_ref().map(|recipient| recipient.time_zone.clone());
    GiftView {
        token: visit.link.clone(),
        language: visit.language,
        zone: zone.filter(|zone| !zone.is_empty()).unwrap_or_else(|| ZONE.to_owned()),
        now: opened.now.as_ref().map_or_else(|| i64::try_from(now.as_millis()).unwrap_or(i64::MAX), millis),
        product: product(Some(&gift)),
        sender_name: gift.sender.map(|sender| sender.name).unwrap_or_default(),
        // Which part of a name is the given one nobody can tell, and a preview is seen by a whole chat room.
        sender_given_name: None,
        message: gift.message,
        state,
        nonce,
        notice,
    }
}

/// What is given. A picture that the page would refuse is left out: products of before that was checked have some.
pub(super) fn product(gift: Option<&v1::Gift>) -> ProductView {
    let product = gift.and_then(|gift| gift.product.clone()).unwrap_or_default();
    ProductView {
        image: Some(product.image_url).filter(|image| pages::check_image(image).is_ok()),
        name: product.name,
        brand: product.brand,
        price_won: Some(product.price_won),
    }
}

fn state(opened: &v1::OpenGiftResponse) -> GiftState {
    use v1::GiftState as Of;
    if opened.passed_on {
        return GiftState::Transferred;
    }
    let Some(gift) = &opened.gift else { return GiftState::NotYet };
    let expires_at = gift.expires_at.as_ref().map_or(0, millis);
    match gift.state() {
        // The link may be with the recipient before whoever sent it says so; it can be accepted from then on.
        Of::Unspecified | Of::PendingPayment | Of::Reserved | Of::Sending | Of::SendUnknown => GiftState::NotYet,
        Of::Sent => GiftState::Arrived { expires_at },
        Of::Accepted => {
            let form = gift.product.as_ref().map(|product| product.code_form()).unwrap_or_default();
            let code = CodeView { text: gifticon::grouped(&opened.code), digits_only: form == CodeForm::Digits };
            GiftState::Accepted { code, expires_at, can_transfer: !gift.transferred }
        }
        Of::Used => GiftState::Used { at: opened.used_at.as_ref().map_or(0, millis) },
        Of::Expired => GiftState::Expired { at: expires_at },
        Of::Cancelled => GiftState::Cancelled,
        // What could not be sent was paid back too, or is about to be.
        Of::Failed | Of::Refunded => GiftState::Refunded,
    }
}

fn millis(at: &Moment) -> i64 {
    at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(state: v1::GiftState) -> v1::OpenGiftResponse {
        let moment = |seconds| Some(Moment { seconds, nanos: 7_000_000 });
        let product = proto::product::v1::Product { name: "커피".into(), ..Default::default() };
        let gift =
            v1::Gift { state: state.into(), product: Some(product), expires_at: moment(30), ..Default::default() };
        let code = if state == v1::GiftState::Accepted { "7QK3M9XA20BC5TRW".into() } else { String::new() };
        v1::OpenGiftResponse { gift: Some(gift), code, now: moment(10), used_at: moment(20), ..Default::default() }
    }

    fn shown(opened: v1::OpenGiftResponse) -> GiftView {
        let visit = Visit { link: "AAAAAAAAAAAAAAAAAAAAAAAA".into(), language: pages::Language::English };
        gift(&visit, opened, Timestamp::from_millis(99), None)
    }

    /// Every state has a page, whatever else is missing.
    #[test]
    fn every_state_can_be_shown() {
        let all = (0..=11).filter_map(|number| v1::GiftState::try_from(number).ok());
        let mut seen = 0;
        for state in all {
            let view = shown(opened(state));
            assert_eq!(view.now, 10_007);
            let page = pages::gift(&view).unwrap_or_else(|error| panic!("{state:?}: {error}"));
            assert!([200, 410].contains(&page.status));
            seen += 1;
        }
        assert_eq!(seen, 12);
        let passed_on = v1::OpenGiftResponse { passed_on: true, ..opened(v1::GiftState::Accepted) };
        assert!(matches!(shown(passed_on).state, GiftState::Transferred));
        assert!(matches!(shown(opened(v1::GiftState::Used)).state, GiftState::Used { at: 20_007 }));
    }

    #[test]
    fn an_answer_of_an_older_node_is_shown_by_this_nodes_time() {
        let older = v1::OpenGiftResponse { now: None, ..opened(v1::GiftState::Sent) };
        assert_eq!(shown(older).now, 99);
    }

    #[test]
    fn a_picture_that_cannot_be_shown_is_left_out() {
        let with = |image: &str| {
            let mut opened = opened(v1::GiftState::Sent);
            let gift = opened.gift.as_mut().and_then(|gift| gift.product.as_mut()).expect("a product");
            gift.image_url = image.into();
            shown(opened).product.image
        };
        assert_eq!(with("https://img.example/a.jpg").as_deref(), Some("https://img.example/a.jpg"));
        assert_eq!((with(""), with("https://img.example; script-src *")), (None, None));
    }
}
