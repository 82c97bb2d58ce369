//! The recipient's page of a gift: what a person sees who opens the link in the message.
//!
//! Rendering and nothing else. A view goes in, a [`Page`] comes out: status, headers and HTML. Nothing here opens a
//! socket, reads a store or asks a clock, so whoever mounts these pages decides what is true and this crate how it
//! looks.
//!
//! # What whoever mounts it has to keep
//!
//! - **GET never changes anything.** Messengers fetch a link to draw a preview of it. A gift is accepted or transferred by
//!   the POSTs named in [`paths`], each with the nonce that the page was rendered with; a nonce counts once.
//! - **`Origin` is `null`** on those POSTs, because the pages send no referrer. What proves that the form is ours is
//!   the nonce, not a header.
//! - After a POST that changed something comes a 303 to [`paths::gift`] ([`see_other`]), so that a reload repeats
//!   nothing.
//! - All headers of a [`Page`] are sent as they are; without them a code could end up in a cache or a frame.
//!
//! # Why the style sheet is in the page
//!
//! A recipient opens a gift once or twice, from a messenger whose browser has nothing cached, and at midnight many do
//! so at once. A page that needs no second request is faster for one and half the load for all. The content security
//! policy allows exactly this style sheet by its hash, and no script at all.

mod check;
mod dates;
mod language;
mod page;
pub mod paths;
mod render;
mod symbols;
mod templates;
mod texts;
mod view;

pub use check::{CODE_MAX, CONTACT_MAX, Error, MESSAGE_MAX, NAME_MAX, NEW_NAME_MAX, check_image};
pub use language::{Language, negotiate};
pub use page::Page;
pub use render::{confirm_transfer, failure, gift, see_other, transfer};
pub use view::{
    CodeView, ConfirmView, Failure, Field, FieldError, GiftState, GiftView, Notice, Problem, ProductView, TransferView,
};
