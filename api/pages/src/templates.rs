//! What the templates are given. Whatever they print is escaped, but for the style sheet.

use askama::Template;

use crate::Language;
use crate::dates::Reading;
use crate::page::STYLE;
use crate::symbols::Symbols;
use crate::texts::Texts;
use crate::view::ProductView;

/// What stands around every page.
pub(crate) struct Frame<'a> {
    pub language: Language,
    pub texts: &'static Texts,
    pub title: String,
    /// Class of the body.
    pub mood: &'static str,
    pub preview: Preview<'a>,
    /// The way to the other language, where the page has an address of its own.
    pub switch: Option<Switch>,
    /// Whether to say whose the link is.
    pub caution: bool,
}

/// What a messenger shows of the link.
pub(crate) struct Preview<'a> {
    pub title: String,
    pub description: String,
    pub image: Option<&'a str>,
}

pub(crate) struct Switch {
    pub href: String,
    pub language: Language,
    pub name: &'static str,
}

impl Switch {
    /// From a language to the other one, whose address `href` tells.
    pub fn to(from: Language, href: impl Fn(Language) -> String) -> Self {
        let language = match from {
            Language::Korean => Language::English,
            Language::English => Language::Korean,
        };
        Self { href: href(language), language, name: Texts::of(language).language }
    }
}

impl Frame<'_> {
    /// A page whose preview tells nothing.
    pub fn new(language: Language, mood: &'static str, title: String) -> Self {
        let texts = Texts::of(language);
        let preview = Preview { title: texts.title_ended.into(), description: texts.preview_ended.into(), image: None };
        Self { language, texts, title, mood, preview, switch: None, caution: false }
    }

    fn style(&self) -> &'static str {
        STYLE
    }
}

#[derive(Template)]
#[template(path = "arrived.html")]
pub(crate) struct ArrivedPage<'a> {
    pub frame: Frame<'a>,
    pub from: String,
    pub signature: String,
    pub notice: Option<&'static str>,
    pub product: &'a ProductView,
    pub message: &'a str,
    pub accept: String,
    pub nonce: &'a str,
    pub left: String,
    pub deadline: Vec<Reading>,
}

#[derive(Template)]
#[template(path = "accepted.html")]
pub(crate) struct AcceptedPage<'a> {
    pub frame: Frame<'a>,
    pub from: String,
    pub signature: String,
    pub notice: Option<&'static str>,
    pub product: &'a ProductView,
    pub price: Option<String>,
    pub message: &'a str,
    pub symbols: Symbols,
    pub code: &'a str,
    pub transfer: Option<String>,
    pub left: String,
    pub deadline: Vec<Reading>,
}

#[derive(Template)]
#[template(path = "transfer.html")]
pub(crate) struct TransferPage<'a> {
    pub frame: Frame<'a>,
    pub notice: Option<&'static str>,
    pub product: &'a ProductView,
    pub action: String,
    pub back: String,
    pub nonce: &'a str,
    pub errors: Vec<SaidError>,
    pub fields: [FormField<'a>; 2],
}

/// In the summary above the form: a link to the field.
pub(crate) struct SaidError {
    pub id: &'static str,
    pub text: String,
}

pub(crate) struct FormField<'a> {
    pub id: &'static str,
    pub label: &'static str,
    pub hint: &'static str,
    pub max: usize,
    pub value: &'a str,
    pub described_by: String,
    pub errors: Vec<String>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct ConfirmPage<'a> {
    pub frame: Frame<'a>,
    pub product: &'a ProductView,
    pub name: &'a str,
    pub contact: &'a str,
    pub nonce: &'a str,
    pub confirm: String,
    pub transfer: String,
    pub back: String,
}

#[derive(Template)]
#[template(path = "plain.html")]
pub(crate) struct PlainPage<'a> {
    pub frame: Frame<'a>,
    pub heading: &'static str,
    pub text: String,
    pub when: Option<(&'static str, Vec<Reading>)>,
}
