//! Views into pages: what is checked, what is said, which template it goes into.

use askama::Template;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::check::{self, CONTACT_MAX, Error, NEW_NAME_MAX};
use crate::dates::{self, Reading};
use crate::page::Page;
use crate::templates::{
    AcceptedPage, ArrivedPage, ConfirmPage, FormField, Frame, PlainPage, Preview, SaidError, Switch, TransferPage,
};
use crate::texts::{Texts, fill};
use crate::view::{
    CodeView, ConfirmView, Failure, Field, FieldError, GiftState, GiftView, Notice, Problem, ProductView, TransferView,
};
use crate::{Language, paths};

/// The page of a gift, by its state: 200 while it waits or can be used, 410 when it is over.
///
/// # Errors
///
/// When a field of the view is not what its documentation says.
pub fn gift(view: &GiftView) -> Result<Page, Error> {
    check::gift(view)?;
    let zone = check::zone(&view.zone)?;
    let texts = Texts::of(view.language);
    let expires = |at: i64| check::moment("state.expires_at", at);
    let ended = |at: i64| check::moment("state.at", at);
    match &view.state {
        GiftState::NotYet => over(view, 200, texts.not_yet, texts.not_yet_text, None),
        GiftState::Arrived { expires_at } => arrived(view, &zone, expires(*expires_at)?),
        GiftState::Accepted { code, expires_at, can_transfer } => {
            accepted(view, &zone, expires(*expires_at)?, code, *can_transfer)
        }
        GiftState::Used { at } => {
            let when = (texts.used_at, dates::happened(ended(*at)?, &zone, view.language));
            over(view, 410, texts.used, texts.used_text, Some(when))
        }
        GiftState::Expired { at } => {
            let when = (texts.expired_at, dates::deadline(ended(*at)?, &zone, view.language));
            over(view, 410, texts.expired, texts.expired_text, Some(when))
        }
        GiftState::Refunded => over(view, 410, texts.refunded, texts.refunded_text, None),
        GiftState::Transferred => over(view, 410, texts.transferred, texts.transferred_text, None),
        GiftState::Cancelled => over(view, 410, texts.cancelled, texts.cancelled_text, None),
    }
}

/// The form with which a gift is passed on: 200, or 422 with what is wrong beside each field and what was typed kept.
///
/// # Errors
///
/// When a field of the view is not what its documentation says; what was typed may be anything.
pub fn transfer(view: &TransferView) -> Result<Page, Error> {
    check::transfer(view)?;
    let texts = Texts::of(view.language);
    let untouched = view.errors.is_empty() && view.name.is_empty() && view.contact.is_empty();
    let title = match view.errors.is_empty() {
        true => texts.transfer.to_owned(),
        false => fill(texts.title_error, &[("title", texts.transfer)]),
    };
    let mut frame = Frame::new(view.language, "form", title);
    frame.caution = true;
    // What was typed is not put into an address, and so would be gone in the other language.
    frame.switch = untouched.then(|| Switch::to(view.language, |other| paths::transfer(&view.token, other)));
    let fields = [
        form_field(Field::Name, &view.name, &view.errors, texts),
        form_field(Field::Contact, &view.contact, &view.errors, texts),
    ];
    let errors = view.errors.iter().map(|error| SaidError { id: id(error.field), text: said(*error, texts) }).collect();
    let status = if view.errors.is_empty() { 200 } else { 422 };
    let body = TransferPage {
        notice: view.notice.map(|notice| notice_text(notice, texts)),
        product: &view.product,
        action: paths::transfer(&view.token, view.language),
        back: paths::gift(&view.token, view.language),
        nonce: &view.nonce,
        errors,
        fields,
        frame,
    };
    page(status, view.language, Some(&view.product), &body)
}

/// The last look before a gift is passed on.
///
/// # Errors
///
/// When a field of the view is not what its documentation says.
pub fn confirm_transfer(view: &ConfirmView) -> Result<Page, Error> {
    check::confirm(view)?;
    let mut frame = Frame::new(view.language, "form", Texts::of(view.language).confirm.to_owned());
    frame.caution = true;
    let body = ConfirmPage {
        product: &view.product,
        name: &view.name,
        contact: &view.contact,
        nonce: &view.nonce,
        confirm: paths::confirm(&view.token, view.language),
        transfer: paths::transfer(&view.token, view.language),
        back: paths::gift(&view.token, view.language),
        frame,
    };
    page(200, view.language, Some(&view.product), &body)
}

/// The page for when there is no gift to show.
pub fn failure(language: Language, failure: Failure) -> Page {
    let texts = Texts::of(language);
    let (status, heading, text, retry_after_s) = match failure {
        Failure::NotFound => (404, texts.not_found, texts.not_found_text, None),
        Failure::BadRequest => (400, texts.bad_request, texts.bad_request_text, None),
        Failure::TooManyRequests { retry_after_s } => (429, texts.too_many, texts.too_many_text, Some(retry_after_s)),
        Failure::Unavailable { retry_after_s } => (503, texts.unavailable, texts.unavailable_text, Some(retry_after_s)),
    };
    let text = fill(text, &[("seconds", &retry_after_s.unwrap_or_default().to_string())]);
    let frame = Frame::new(language, "over", heading.to_owned());
    let body = PlainPage { frame, heading, text, when: None };
    let mut page = Page::new(status, language, None, html(&body));
    page.headers.extend(retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
    page
}

/// After a POST that changed something: to the gift as it is now.
///
/// # Errors
///
/// When the token is not one.
pub fn see_other(token: &str, language: Language) -> Result<Page, Error> {
    check::secret("token", token)?;
    Ok(Page::see_other(paths::gift(token, language)))
}

// ---- the states of a gift -----------------------------------------------------------------------------------------

fn arrived(view: &GiftView, zone: &TimeZone, expires_at: Timestamp) -> Result<Page, Error> {
    let frame = gift_frame(view);
    let texts = frame.texts;
    let body = ArrivedPage {
        from: said_of(view, texts.arrived_from, texts.arrived_unnamed),
        signature: said_of(view, texts.message_from, texts.message_unnamed),
        notice: view.notice.map(|notice| notice_text(notice, texts)),
        product: &view.product,
        message: view.message.trim(),
        accept: paths::accept(&view.token, view.language),
        nonce: &view.nonce,
        left: left(view, zone, expires_at)?,
        deadline: dates::deadline(expires_at, zone, view.language),
        frame,
    };
    page(200, view.language, Some(&view.product), &body)
}

fn accepted(
    view: &GiftView,
    zone: &TimeZone,
    expires_at: Timestamp,
    code: &CodeView,
    can_transfer: bool,
) -> Result<Page, Error> {
    let frame = gift_frame(view);
    let texts = frame.texts;
    let body = AcceptedPage {
        from: said_of(view, texts.accepted_from, texts.accepted_unnamed),
        signature: said_of(view, texts.message_from, texts.message_unnamed),
        notice: view.notice.map(|notice| notice_text(notice, texts)),
        product: &view.product,
        price: view.product.price_won.map(|won| fill(texts.won, &[("won", &grouped(won))])),
        message: view.message.trim(),
        symbols: check::symbols(&check::code(code)?, code.digits_only)?,
        code: code.text.trim(),
        transfer: can_transfer.then(|| paths::transfer(&view.token, view.language)),
        left: left(view, zone, expires_at)?,
        deadline: dates::deadline(expires_at, zone, view.language),
        frame,
    };
    page(200, view.language, Some(&view.product), &body)
}

/// What is no more, or not yet: nothing of the gift itself is told.
fn over(
    view: &GiftView,
    status: u16,
    heading: &'static str,
    text: &str,
    when: Option<(&'static str, Vec<Reading>)>,
) -> Result<Page, Error> {
    let mut frame = Frame::new(view.language, "over", heading.to_owned());
    frame.switch = Some(Switch::to(view.language, |other| paths::gift(&view.token, other)));
    page(status, view.language, None, &PlainPage { frame, heading, text: text.to_owned(), when })
}

/// What a gift's page says outside itself: in a preview, which a whole chat room sees, the sender's given name and
/// the product, and nothing that only the recipient may know.
fn gift_frame(view: &GiftView) -> Frame<'_> {
    let texts = Texts::of(view.language);
    let title = match &view.sender_given_name {
        Some(name) => fill(texts.title_gift_from, &[("sender", name)]),
        None => texts.title_gift.to_owned(),
    };
    let mut frame = Frame::new(view.language, "gift", title.clone());
    frame.preview = Preview {
        title,
        description: fill(texts.preview_gift, &[("product", &view.product.name)]),
        image: view.product.image.as_deref(),
    };
    frame.caution = true;
    frame.switch = Some(Switch::to(view.language, |other| paths::gift(&view.token, other)));
    frame
}

fn left(view: &GiftView, zone: &TimeZone, expires_at: Timestamp) -> Result<String, Error> {
    let texts = Texts::of(view.language);
    Ok(match dates::days_left(check::moment("now", view.now)?, expires_at, zone) {
        // What is past its end is for the caller to show as such; for a moment both may be true.
        ..=0 => texts.last_day.to_owned(),
        1 => texts.one_day_left.to_owned(),
        days => fill(texts.days_left, &[("days", &days.to_string())]),
    })
}

/// What is said with the sender's name, or without it when they did not say it.
fn said_of(view: &GiftView, named: &str, unnamed: &str) -> String {
    match view.sender_name.trim() {
        "" => unnamed.to_owned(),
        name => fill(named, &[("sender", name)]),
    }
}

/// Thousands apart: 12,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn notice_text(notice: Notice, texts: &'static Texts) -> &'static str {
    match notice {
        Notice::Stale => texts.stale,
        Notice::Unavailable => texts.unavailable_now,
    }
}

// ---- the form -----------------------------------------------------------------------------------------------------

fn form_field<'a>(field: Field, value: &'a str, errors: &[FieldError], texts: &'static Texts) -> FormField<'a> {
    let id = id(field);
    let errors: Vec<String> =
        errors.iter().filter(|error| error.field == field).map(|error| said(*error, texts)).collect();
    let described_by = (1..=errors.len()).map(|number| format!(" {id}-error-{number}")).collect::<String>();
    let (label, hint, max) = match field {
        Field::Name => (texts.name, texts.name_hint, NEW_NAME_MAX),
        Field::Contact => (texts.contact, texts.contact_hint, CONTACT_MAX),
    };
    FormField { id, label, hint, max, value, described_by: format!("{id}-hint{described_by}"), errors }
}

/// The name in the form and the id in the page.
fn id(field: Field) -> &'static str {
    match field {
        Field::Name => paths::NAME,
        Field::Contact => paths::CONTACT,
    }
}

/// What is wrong, and what was expected.
fn said(error: FieldError, texts: &'static Texts) -> String {
    match (error.field, error.problem) {
        (Field::Name, Problem::Missing) => texts.name_missing.to_owned(),
        (Field::Contact, Problem::Missing) => texts.contact_missing.to_owned(),
        (_, Problem::TooLong { max }) => fill(texts.too_long, &[("max", &max.to_string())]),
        (_, Problem::NotAContact) => texts.not_a_contact.to_owned(),
        (Field::Name, Problem::Own) => texts.own_name.to_owned(),
        (Field::Contact, Problem::Own) => texts.own_contact.to_owned(),
    }
}

/// The answer around a rendered template.
fn page(status: u16, language: Language, product: Option<&ProductView>, body: &impl Template) -> Result<Page, Error> {
    let image = product.and_then(|product| product.image.as_deref()).map(check::image_origin).transpose()?;
    Ok(Page::new(status, language, image, html(body)))
}

fn html(body: &impl Template) -> String {
    // Rendering fails when a value cannot be written, and all of ours are text and numbers.
    body.render().unwrap_or_else(|error| unreachable!("text and numbers could not be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (5_000, "5,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }
}
