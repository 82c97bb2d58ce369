//! What a gift of a number looks like: who sends it to whom, what it is, what it costs.

use proto::gift::v1::{Party, PaymentRequest, ReserveRequest, SendTime, send_time};
use proto::product::v1::Product;
use proto::v1::LocalTime;

/// Ids and prices in won of what can be given.
pub const PRODUCTS: [(&str, &str, u64); 3] =
    [("americano", "아메리카노 Tall", 4_500), ("cake", "딸기 생크림 케이크", 32_000), ("voucher", "상품권", 50_000)];

/// Gifts of one sender: a page of a list.
pub const PER_SENDER: u64 = 100;
/// Numbers that have a phone.
pub const NUMBERS_MAX: u64 = 10_000_000;

/// Phones of recipients and senders begin so; seven digits of the number follow.
const RECIPIENTS: &str = "0102";
const SENDERS: &str = "0103";

/// A product as it is put on sale.
#[must_use]
pub fn product((id, name, price_won): (&str, &str, u64)) -> Product {
    Product {
        id: id.into(),
        name: name.into(),
        brand: "보신각 상점".into(),
        price_won,
        on_sale: true,
        ..Product::default()
    }
}

/// What the gift of this number costs, in won.
#[must_use]
pub fn price(number: u64) -> u64 {
    of(number).2
}

/// Who gives it.
#[must_use]
pub fn sender(number: u64) -> String {
    format!("sender-{}", number / PER_SENDER)
}

/// The number of a gift, from the id it was given.
#[must_use]
pub fn number(prefix: &str, id: &str) -> Option<u64> {
    id.strip_prefix(prefix)?.strip_prefix('-')?.parse().ok()
}

/// The number whose recipient has this phone.
#[must_use]
pub fn number_of_recipient(phone: &str) -> Option<u64> {
    phone.strip_prefix(RECIPIENTS)?.parse().ok()
}

/// The number whose sender has this phone.
#[must_use]
pub fn number_of_sender(phone: &str) -> Option<u64> {
    phone.strip_prefix(SENDERS)?.parse().ok()
}

/// The wish, to be sent at 00:00 of `date` in Korea, paid with `payment_key`.
#[must_use]
pub fn request(id: &str, number: u64, date: &str, payment_key: &str) -> ReserveRequest {
    let (product, _, price_won) = of(number);
    let person = |name: String, phone: String| Party { name, phone, ..Party::default() };
    let phone = |begins: &str| format!("{begins}{:07}", number % NUMBERS_MAX);
    let local = LocalTime { date_time: date.into(), ..LocalTime::default() };
    ReserveRequest {
        namespace: "default".into(),
        gift_id: id.into(),
        product_id: product.into(),
        sender: Some(Party { id: sender(number), ..person(format!("보내는 {number}"), phone(SENDERS)) }),
        recipient: Some(person(format!("받는 {number}"), phone(RECIPIENTS))),
        message: format!("발렌타인데이를 축하해요! 따뜻한 하루 보내세요. 🎁 {number}"),
        send: Some(SendTime { when: Some(send_time::When::Local(local)) }),
        payment: Some(PaymentRequest {
            payment_key: payment_key.into(),
            amount_won: price_won,
            ..PaymentRequest::default()
        }),
    }
}

fn of(number: u64) -> (&'static str, &'static str, u64) {
    PRODUCTS[usize::try_from(number % PRODUCTS.len() as u64).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a message cannot be told to be about the gift it is about.
    #[test]
    fn phones_are_of_one_gift() {
        for number in [0, 7, 199_999, NUMBERS_MAX - 1] {
            let request = request("night-1", number, "2027-02-14", "key");
            let phone = |party: Option<Party>| party.unwrap().phone;
            let (sender, recipient) = (phone(request.sender.clone()), phone(request.recipient.clone()));
            assert_eq!((sender.len(), recipient.len()), (11, 11), "a mobile number of Korea");
            assert_eq!(number_of_recipient(&recipient), Some(number));
            assert_eq!(number_of_sender(&sender), Some(number));
            assert_eq!((number_of_recipient(&sender), number_of_sender(&recipient)), (None, None));
            assert_eq!(request.payment.unwrap().amount_won, price(number));
        }
        assert_eq!(super::number("night", "night-17"), Some(17));
        assert_eq!(super::number("night", "day-17"), None);
    }
}
