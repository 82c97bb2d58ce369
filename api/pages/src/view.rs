//! What the pages are told. Times are milliseconds since 1970-01-01 UTC; what is not said to be anything else is text
//! that anybody may have written, and is escaped.

use crate::Language;

/// A gift as its recipient may see it.
#[derive(Debug, Clone)]
pub struct GiftView {
    /// The secret of the link: 1 to 128 of `A-Z a-z 0-9 - _`.
    pub token: String,
    /// Language of the page.
    pub language: Language,
    /// The recipient's IANA time zone, `Europe/Berlin`. Times are shown in it, and in Korean time beside it.
    pub zone: String,
    /// When the page is made, for "3 days left".
    pub now: i64,
    /// What is given.
    pub product: ProductView,
    /// Who gave it, as they called themselves: up to [`crate::NAME_MAX`] characters; empty when they did not. For the
    /// recipient's eyes.
    pub sender_name: String,
    /// What a link's preview may say of the sender, which everybody in a chat room sees: their given name. `None`
    /// names nobody. It is not taken out of `sender_name`, since nobody can tell which part of a name that is.
    pub sender_given_name: Option<String>,
    /// The sender's words, up to [`crate::MESSAGE_MAX`] characters; may be empty. Line breaks are kept.
    pub message: String,
    /// What has become of it.
    pub state: GiftState,
    /// Goes into the forms, so that each counts once: 1 to 128 of `A-Z a-z 0-9 - _`.
    pub nonce: String,
    /// Why the same page is shown again after a POST.
    pub notice: Option<Notice>,
}

/// What is given.
#[derive(Debug, Clone)]
pub struct ProductView {
    /// Its name, 1 to [`crate::NAME_MAX`] characters.
    pub name: String,
    /// Whose it is, up to [`crate::NAME_MAX`] characters; may be empty.
    pub brand: String,
    /// Address of a picture, such as [`crate::check_image`] takes.
    pub image: Option<String>,
    /// What it is worth, in won. Shown with the voucher, where it counts at the till, and not on the parcel.
    pub price_won: Option<u64>,
}

/// What has become of a gift.
#[derive(Debug, Clone)]
pub enum GiftState {
    /// Not sent yet. The page tells nothing of it.
    NotYet,
    /// It waits to be accepted, until `expires_at`.
    Arrived {
        /// When it lapses.
        expires_at: i64,
    },
    /// It can be used, until `expires_at`.
    Accepted {
        /// What is shown at the till.
        code: CodeView,
        /// When it lapses.
        expires_at: i64,
        /// Whether it may still be passed on to somebody else.
        can_transfer: bool,
    },
    /// It was used.
    Used {
        /// When.
        at: i64,
    },
    /// It lapsed unused; its price goes back to the sender.
    Expired {
        /// When.
        at: i64,
    },
    /// Its price went back to the sender.
    Refunded,
    /// The recipient passed it on; this link shows it no more.
    Transferred,
    /// The sender took it back.
    Cancelled,
}

/// The number of a voucher.
#[derive(Clone)]
pub struct CodeView {
    /// As a person reads it out: letters and digits in groups of four, 4 to [`crate::CODE_MAX`] without the spaces
    /// between. Bar code and QR code hold it without those spaces.
    pub text: String,
    /// Whether it is all digits, for which the bar code is half as wide.
    pub digits_only: bool,
}

/// A voucher is money: its number is not for logs.
impl std::fmt::Debug for CodeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeView").field("digits_only", &self.digits_only).finish_non_exhaustive()
    }
}

/// Why the page is shown again after a POST that changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The form was older than its nonce: please press once more.
    Stale,
    /// It was certainly not done, and may be in a moment. Where that is not certain the gift is read and shown again
    /// as it then is.
    Unavailable,
}

/// The form with which a gift is passed on.
#[derive(Debug, Clone)]
pub struct TransferView {
    /// As in [`GiftView`].
    pub token: String,
    /// As in [`GiftView`].
    pub language: Language,
    /// As in [`GiftView`].
    pub product: ProductView,
    /// As in [`GiftView`].
    pub nonce: String,
    /// As in [`GiftView`].
    pub notice: Option<Notice>,
    /// The new recipient's name, as typed; empty at first.
    pub name: String,
    /// Phone number or e-mail address, as typed; empty at first.
    pub contact: String,
    /// What is wrong with them; makes it status 422.
    pub errors: Vec<FieldError>,
}

/// A last look at what was typed before a gift is passed on.
#[derive(Debug, Clone)]
pub struct ConfirmView {
    /// As in [`GiftView`].
    pub token: String,
    /// As in [`GiftView`].
    pub language: Language,
    /// As in [`GiftView`].
    pub product: ProductView,
    /// As in [`GiftView`].
    pub nonce: String,
    /// The new recipient's name, 1 to [`crate::NAME_MAX`] characters.
    pub name: String,
    /// Their phone number or e-mail address, 1 to [`crate::CONTACT_MAX`] characters.
    pub contact: String,
}

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// [`crate::paths::NAME`].
    Name,
    /// [`crate::paths::CONTACT`].
    Contact,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldError {
    /// Beside which field it is said.
    pub field: Field,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a field; the page says what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nothing was typed.
    Missing,
    /// More than `max` characters.
    TooLong {
        /// The most there may be.
        max: usize,
    },
    /// Neither a phone number nor an e-mail address.
    NotAContact,
    /// It is the one who has the gift now.
    Own,
}

/// What is answered when there is no gift to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// 404: no gift has this token.
    NotFound,
    /// 400: a form that our page cannot have sent.
    BadRequest,
    /// 429, with `Retry-After`.
    TooManyRequests {
        /// Seconds after which it is worth another try.
        retry_after_s: u32,
    },
    /// 503, with `Retry-After`: it cannot be looked up at the moment.
    Unavailable {
        /// Seconds after which it is worth another try.
        retry_after_s: u32,
    },
}
