//! Who gives what to whom, and where it is to end.

use proto::gift::v1::{GiftState, Party};

/// Won.
pub const COFFEE_WON: u64 = 4_500;
/// Won.
pub const CAKE_WON: u64 = 32_000;
/// Where whoever pays gets news.
pub const SENDER_PHONE: &str = "010-1000-0000";

/// A gift of the story.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Of the gift, and of the order at the payment provider.
    pub id: &'static str,
    /// Id of the product.
    pub product: &'static str,
    /// Name of the recipient.
    pub name: &'static str,
    /// Where the recipient is reached: a phone number, an e-mail address, or nowhere.
    pub address: &'static str,
    /// What the sender writes.
    pub message: &'static str,
    /// Where the story leaves it.
    pub end: GiftState,
}

const fn coffee(id: &'static str, name: &'static str, address: &'static str, message: &'static str) -> Role {
    Role { id, product: "coffee", name, address, message, end: GiftState::Refunded }
}

/// Accepted and used.
pub const MINJUN: Role =
    Role { end: GiftState::Used, ..coffee("coffee-minjun", "민준", "010-1000-0001", "시험 잘 봐! ☕") };
/// Taken back in time.
pub const SEOYEON: Role = coffee("coffee-seoyeon", "서연", "010-1000-0002", "고마워요");
/// Taken back too late, then passed on to [`DOYUN`], who forgets it.
pub const JIHO: Role = coffee("coffee-jiho", "지호", "010-1000-0003", "힘내요 💪");
/// Has no KakaoTalk: gets a text message.
pub const HAYOON: Role =
    Role { end: GiftState::Used, ..coffee("coffee-hayoon", "하윤", "010-1000-0004", "늘 고마워요") };
/// Had another number when it was reserved. Accepts, and forgets to use it.
pub const SUA: Role = coffee("coffee-sua", "수아", "010-1000-0005", "생일 축하해 🎂");
/// Nobody knows how to reach him: the sender gets the link to pass on.
pub const DAD: Role = coffee("coffee-dad", "아버지", "", "사랑해요");
/// Lives in New York, and is reached by e-mail. Uses it after the last reminder.
pub const EMMA: Role = Role {
    id: "cake-emma",
    product: "cake",
    name: "Emma",
    address: "emma@example.com",
    message: "Happy birthday! Wish I were there.",
    end: GiftState::Used,
};
/// The card is declined.
pub const YEJUN: Role = Role {
    id: "cake-yejun",
    product: "cake",
    name: "예준",
    address: "010-1000-0006",
    message: "축하해",
    end: GiftState::Failed,
};

/// All of them.
pub const ROLES: [Role; 8] = [MINJUN, SEOYEON, JIHO, HAYOON, SUA, DAD, EMMA, YEJUN];

/// To whom Jiho passes his on.
pub const DOYUN: (&str, &str) = ("도윤", "010-1000-0007");
/// Sua's number before the gift was edited.
pub const SUA_BEFORE: &str = "010-1000-0099";

impl Role {
    /// Price.
    pub fn won(&self) -> u64 {
        if self.product == "cake" { CAKE_WON } else { COFFEE_WON }
    }

    /// As the sender's app writes the recipient.
    pub fn recipient(&self) -> Party {
        let mut party = Party { name: self.name.into(), ..Party::default() };
        if self.address.contains('@') {
            party.email = self.address.into();
            party.time_zone = "America/New_York".into();
            party.language = "en".into();
        } else {
            party.phone = self.address.into();
        }
        party
    }

    /// Messages with the gift itself that are to arrive at the recipient.
    pub fn messages(&self) -> usize {
        match self.id {
            id if id == SEOYEON.id || id == DAD.id || id == YEJUN.id => 0,
            _ => 1,
        }
    }
}

/// The name of who is reached at an address, as the providers write it.
pub fn name_at(address: &str) -> &'static str {
    let is = |other: &str| !other.is_empty() && fakes::inbox::normal(other) == address;
    if is(SENDER_PHONE) {
        return "보신";
    }
    if is(DOYUN.1) {
        return DOYUN.0;
    }
    ROLES.iter().find(|role| is(role.address)).map_or("?", |role| role.name)
}

/// The sender.
pub fn sender() -> Party {
    Party { id: "bosin".into(), name: "김보신".into(), phone: SENDER_PHONE.into(), ..Party::default() }
}
