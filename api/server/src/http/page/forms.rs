//! The form with which a gift is passed on: empty, looked at, confirmed.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use pages::{ConfirmView, Failure, Field, FieldError, Notice, Problem as Wrong, TransferView};
use proto::gift::v1;
use serde::Deserialize;

use super::super::Problem;
use super::{Pages, Refused, Visit, language, view};
use crate::gift::{Contact, contact};
use crate::status::Reason;

/// What a form of ours says. The names are those of [`pages::paths`].
#[derive(Debug, Default, Deserialize)]
pub(super) struct Form {
    /// That of the page.
    pub nonce: Option<String>,
    name: Option<String>,
    contact: Option<String>,
    /// There when the form is wanted again, to change what was typed.
    edit: Option<String>,
}

impl FromRequest<Pages> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Pages) -> Result<Self, Response> {
        let language = language(request.uri(), request.headers());
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let body = Bytes::from_request(request, state).await.ok().filter(|_| is_form);
        let form = body.and_then(|body| serde_html_form::from_bytes(&body).ok());
        form.ok_or_else(|| super::failure(language, Failure::BadRequest))
    }
}

/// What was typed about the one who is to have the gift.
struct Typed {
    nonce: String,
    name: String,
    contact: String,
}

impl Typed {
    /// `None`: it is no form of ours.
    fn of(form: Form) -> Option<Typed> {
        Some(Typed { nonce: form.nonce?, name: form.name?, contact: form.contact? })
    }

    /// Who is meant, or what is wrong.
    fn read(&self) -> Result<v1::Party, Vec<FieldError>> {
        let (name, typed) = (self.name.trim(), self.contact.trim());
        let mut errors = Vec::new();
        let mut wrong = |field, problem| errors.push(FieldError { field, problem });
        match name.chars().count() {
            0 => wrong(Field::Name, Wrong::Missing),
            count if count > pages::NEW_NAME_MAX => wrong(Field::Name, Wrong::TooLong { max: pages::NEW_NAME_MAX }),
            _ => {}
        }
        let mut party = v1::Party { name: name.to_owned(), ..v1::Party::default() };
        match contact(typed) {
            _ if typed.is_empty() => wrong(Field::Contact, Wrong::Missing),
            // In bytes, as mail has it; one that long is in ASCII.
            _ if typed.len() > pages::CONTACT_MAX => wrong(Field::Contact, Wrong::TooLong { max: pages::CONTACT_MAX }),
            None => wrong(Field::Contact, Wrong::NotAContact),
            Some(Contact::Phone(phone)) => party.phone = phone,
            Some(Contact::Email(email)) => party.email = email,
        }
        if errors.is_empty() { Ok(party) } else { Err(errors) }
    }

    /// What is wrong by the answer of the service; empty when no field is.
    fn errors(problem: &Problem) -> Vec<FieldError> {
        if problem.reason() != Reason::InvalidField.text() {
            return Vec::new();
        }
        let error = |field: &str| match field {
            "to" => FieldError { field: Field::Contact, problem: Wrong::Own },
            "to.name" => FieldError { field: Field::Name, problem: Wrong::TooLong { max: pages::NEW_NAME_MAX } },
            _ => FieldError { field: Field::Contact, problem: Wrong::NotAContact },
        };
        problem.errors().iter().map(|one| error(&one.field)).collect()
    }
}

/// Whether the gift can be passed on by who opened it.
fn can_be_passed_on(opened: &v1::OpenGiftResponse) -> bool {
    let gift = opened.gift.as_ref();
    !opened.passed_on
        && gift.is_some_and(|gift| {
            !gift.transferred && matches!(gift.state(), v1::GiftState::Sent | v1::GiftState::Accepted)
        })
}

/// The form, with what was typed and what is wrong with it.
fn form(
    visit: &Visit,
    opened: &v1::OpenGiftResponse,
    typed: Option<&Typed>,
    errors: Vec<FieldError>,
    notice: Option<Notice>,
) -> Response {
    let text = |of: fn(&Typed) -> &String| typed.map(of).cloned().unwrap_or_default();
    visit.answer(pages::transfer(&TransferView {
        token: visit.link.clone(),
        language: visit.language,
        product: view::product(opened.gift.as_ref()),
        nonce: opened.nonce.clone(),
        notice,
        name: text(|typed| &typed.name),
        contact: text(|typed| &typed.contact),
        errors,
    }))
}

/// The empty form.
pub(super) async fn empty(State(pages): State<Pages>, visit: Visit) -> Response {
    match pages.open(&visit).await {
        Ok(opened) if can_be_passed_on(&opened) => form(&visit, &opened, None, Vec::new(), None),
        Ok(_) => visit.goes_to_the_gift(),
        Err(problem) => visit.problem(&problem),
    }
}

/// A last look at what was typed. Changes nothing.
pub(super) async fn look(State(pages): State<Pages>, visit: Visit, given: Form) -> Response {
    let again = given.edit.is_some();
    let Some(typed) = Typed::of(given) else { return visit.fails(Failure::BadRequest) };
    let opened = match pages.open(&visit).await {
        Ok(opened) if can_be_passed_on(&opened) => opened,
        Ok(_) => return visit.goes_to_the_gift(),
        Err(problem) => return visit.problem(&problem),
    };
    if again {
        return form(&visit, &opened, Some(&typed), Vec::new(), None);
    }
    if typed.nonce != opened.nonce {
        return form(&visit, &opened, Some(&typed), Vec::new(), Some(Notice::Stale));
    }
    if let Err(errors) = typed.read() {
        return form(&visit, &opened, Some(&typed), errors, None);
    }
    visit.answer(pages::confirm_transfer(&ConfirmView {
        token: visit.link.clone(),
        language: visit.language,
        product: view::product(opened.gift.as_ref()),
        nonce: opened.nonce,
        name: typed.name.trim().to_owned(),
        contact: typed.contact.trim().to_owned(),
    }))
}

/// Passes the gift on.
pub(super) async fn confirm(State(pages): State<Pages>, visit: Visit, given: Form) -> Response {
    let Some(typed) = Typed::of(given) else { return visit.fails(Failure::BadRequest) };
    let opened = match pages.open(&visit).await {
        Ok(opened) if can_be_passed_on(&opened) => opened,
        // Pressed twice, or too late: the page says what became of it.
        Ok(_) => return visit.goes_to_the_gift(),
        Err(problem) => return visit.problem(&problem),
    };
    let mut to = match typed.read() {
        Ok(to) => to,
        Err(errors) => return form(&visit, &opened, Some(&typed), errors, None),
    };
    // What is not known of the new one is taken to be as with who knows them: the zone, and the language they use here.
    let before = opened.gift.as_ref().and_then(|gift| gift.recipient.clone()).unwrap_or_default();
    to.time_zone = before.time_zone;
    to.language = visit.language.tag().to_owned();
    let message = v1::TransferGiftRequest {
        namespace: visit.namespace(),
        token: visit.token(),
        nonce: typed.nonce.clone(),
        to: Some(to),
    };
    let call = async |message, call| pages.services.transfer_gift(message, call).await;
    let Err(problem) = pages.call("TransferGift", message, call).await else { return visit.goes_to_the_gift() };
    let errors = Typed::errors(&problem);
    if !errors.is_empty() {
        return form(&visit, &opened, Some(&typed), errors, None);
    }
    match Refused::of(&problem) {
        Refused::Stale => form(&visit, &opened, Some(&typed), Vec::new(), Some(Notice::Stale)),
        Refused::NotNow => form(&visit, &opened, Some(&typed), Vec::new(), Some(Notice::Unavailable)),
        Refused::Elsewhere => visit.goes_to_the_gift(),
        Refused::Nothing => visit.problem(&problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, contact: &str) -> Result<v1::Party, Vec<(Field, Wrong)>> {
        let typed = Typed { nonce: String::new(), name: name.into(), contact: contact.into() };
        typed.read().map_err(|errors| errors.into_iter().map(|error| (error.field, error.problem)).collect())
    }

    #[test]
    fn somebody_is_a_name_and_a_phone_number_or_an_address() {
        let phone = read(" 박광화 ", " 010-5555-6666 ").expect("a person");
        assert_eq!((phone.name.as_str(), phone.phone.as_str(), phone.email.as_str()), ("박광화", "+821055556666", ""));
        let email = read("박", "park@example.com").expect("a person");
        assert_eq!((email.phone.as_str(), email.email.as_str()), ("", "park@example.com"));
        assert!(read(&"가".repeat(60), "park@example.com").is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let (name, contact) = (Field::Name, Field::Contact);
        let long = format!("{}@example.com", "h".repeat(250));
        for (typed, expected) in [
            (("", ""), vec![(name, Wrong::Missing), (contact, Wrong::Missing)]),
            ((" \u{3000}", "12"), vec![(name, Wrong::Missing), (contact, Wrong::NotAContact)]),
            ((&"가".repeat(61), "a@b.kr"), vec![(name, Wrong::TooLong { max: 60 })]),
            (("박", &long), vec![(contact, Wrong::TooLong { max: 254 })]),
            (("박", "park@example"), vec![(contact, Wrong::NotAContact)]),
        ] {
            assert_eq!(read(typed.0, typed.1).expect_err("wrong"), expected, "{typed:?}");
        }
    }
}
