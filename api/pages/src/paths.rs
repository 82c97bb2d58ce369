//! Where the pages live and where their forms go; `{token}` is the opaque secret in the recipient's link.
//!
//! | route | method | what |
//! |---|---|---|
//! | [`GIFT`] | GET | [`crate::gift`], whatever the state |
//! | [`ACCEPT`] | POST | field [`NONCE`]; accepts, then [`crate::see_other`] |
//! | [`TRANSFER`] | GET | [`crate::transfer`], the empty form |
//! | [`TRANSFER`] | POST | fields [`NONCE`], [`NAME`], [`CONTACT`]; changes nothing: [`crate::confirm_transfer`], or the form again with what is wrong, or as it is when [`EDIT`] is among them |
//! | [`CONFIRM`] | POST | the same fields; transfers, then [`crate::see_other`] |
//!
//! Every address may carry `?lang=` ([`LANG`]); links and forms of a page keep the language it is in.

use crate::Language;

/// The gift.
pub const GIFT: &str = "/g/{token}";
/// Takes the form that accepts it.
pub const ACCEPT: &str = "/g/{token}/accept";
/// The form to pass it on, and what takes it for a last look.
pub const TRANSFER: &str = "/g/{token}/transfer";
/// Takes the confirmed form.
pub const CONFIRM: &str = "/g/{token}/transfer/confirm";

/// Form field: the nonce the page was rendered with.
pub const NONCE: &str = "nonce";
/// Form field: name of the new recipient.
pub const NAME: &str = "name";
/// Form field: phone number or e-mail address of the new recipient.
pub const CONTACT: &str = "contact";
/// Form field, there only when the form is wanted again, to change what was typed.
pub const EDIT: &str = "edit";
/// Query parameter: language of the page, see [`crate::negotiate`].
pub const LANG: &str = "lang";

/// Address of the gift's page in a language.
pub fn gift(token: &str, language: Language) -> String {
    at(GIFT, token, language)
}

pub(crate) fn accept(token: &str, language: Language) -> String {
    at(ACCEPT, token, language)
}

pub(crate) fn transfer(token: &str, language: Language) -> String {
    at(TRANSFER, token, language)
}

pub(crate) fn confirm(token: &str, language: Language) -> String {
    at(CONFIRM, token, language)
}

fn at(route: &str, token: &str, language: Language) -> String {
    format!("{}?{LANG}={language}", route.replace("{token}", token))
}
