//! A gift to start from.

use pages::{GiftState, GiftView, Language, ProductView};

pub const TOKEN: &str = "Zm9vYmFyLWJhei1xdXV4";
pub const NONCE: &str = "bm9uY2UtMQ";
pub const NUMBER: &str = "2602 1400 0912 3458";
/// 15 March 2027, 24:00 in Seoul.
pub const EXPIRES_AT: i64 = 1_805_122_800_000;

pub fn product() -> ProductView {
    ProductView {
        name: "딸기 케이크".into(),
        brand: "종로 베이커리".into(),
        image: Some("https://images.example/cake.jpg?w=600&h=600".into()),
        price_won: Some(36_500),
    }
}

pub fn with(state: GiftState) -> GiftView {
    GiftView {
        token: TOKEN.into(),
        language: Language::Korean,
        zone: "Asia/Seoul".into(),
        // 30 days before.
        now: EXPIRES_AT - 30 * 86_400_000,
        product: product(),
        sender_name: "김민지".into(),
        sender_given_name: Some("민지".into()),
        message: "축하해!".into(),
        state,
        nonce: NONCE.into(),
        notice: None,
    }
}

pub fn arrived() -> GiftView {
    with(GiftState::Arrived { expires_at: EXPIRES_AT })
}
