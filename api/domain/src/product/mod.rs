//! Products: what can be given. A gift copies what it needs, so that a product can change without changing gifts.

use scheduler::domain::DomainError;
use scheduler::store::{Read, StoreError};

use crate::context::Context;
use crate::refusal::Refusal;
use crate::{keys, payment, stored};

/// Longest validity of a gifticon, in days: ten years, and within what triggers can be scheduled ahead
/// ([`scheduler::machine::HORIZON`]) with the rest of the day it is sent on.
pub const VALID_DAYS_MAX: u32 = 3_650;

/// How codes look that a shop takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CodeForm {
    /// 16 characters of Crockford's base32.
    Base32 = 0,
    /// 20 digits, for shops whose terminals have no letters.
    Digits = 1,
}

/// A product.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Product {
    /// 1..64 characters of `[A-Za-z0-9._-]`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Grows with every change.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// 1..100 characters.
    #[prost(string, tag = "3")]
    pub name: String,
    /// 1..60 characters.
    #[prost(string, tag = "4")]
    pub brand: String,
    /// Price in won.
    #[prost(uint64, tag = "5")]
    pub price_won: u64,
    /// Days a gifticon can be used, the day it is sent not counted.
    #[prost(uint32, tag = "6")]
    pub valid_days: u32,
    /// Picture, or empty.
    #[prost(string, tag = "7")]
    pub image_url: String,
    /// How codes look.
    #[prost(enumeration = "CodeForm", tag = "8")]
    pub code_form: i32,
    /// Whether it can be given now.
    #[prost(bool, tag = "9")]
    pub on_sale: bool,
    /// Days before expiry on which the recipient is reminded, the farthest first; at most 8.
    #[prost(uint32, repeated, tag = "10")]
    pub remind_days: Vec<u32>,
    /// Hour of those days, in the recipient's zone: 0..23.
    #[prost(uint32, tag = "11")]
    pub remind_hour: u32,
}

/// Creates or replaces a product.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutProduct {
    /// What it is from now on; its version is not looked at.
    #[prost(message, optional, tag = "1")]
    pub product: Option<Product>,
    /// Of the product that is replaced; 0: whatever there is.
    #[prost(uint64, tag = "2")]
    pub expected_version: u64,
}

pub(crate) fn put(cx: &mut Context<'_, '_, '_, '_>, command: PutProduct) -> Result<Product, DomainError> {
    let mut product = command.product.ok_or_else(|| Refusal::invalid("product", "present"))?;
    check(&product)?;
    let key = keys::product(cx.namespace(), &product.id);
    let before: Option<Product> = cx.get("product", &key)?;
    let found = before.as_ref().map_or(0, |before| before.version);
    product.version = found;
    if before.as_ref() == Some(&product) {
        // The same again, as of a repeated request.
        return Ok(product);
    }
    if command.expected_version != 0 && command.expected_version != found {
        return Err(Refusal::version(found).into());
    }
    product.version = found + 1;
    cx.put(&key, &product)?;
    Ok(product)
}

/// Refuses what a product cannot be, naming the field.
///
/// # Errors
///
/// [`Reason::Invalid`](crate::Reason::Invalid).
pub fn check(product: &Product) -> Result<(), Refusal> {
    let require = |holds: bool, field: &str, expected: &str| match holds {
        true => Ok(()),
        false => Err(Refusal::invalid(format!("product.{field}"), expected)),
    };
    let id = product.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    require(id && (1..=64).contains(&product.id.len()), "id", "1..64 characters of [A-Za-z0-9._-]")?;
    require((1..=100).contains(&product.name.chars().count()), "name", "1..100 characters")?;
    require((1..=60).contains(&product.brand.chars().count()), "brand", "1..60 characters")?;
    require((1..=payment::WON_MAX).contains(&product.price_won), "price_won", "1..100,000,000")?;
    require((1..=VALID_DAYS_MAX).contains(&product.valid_days), "valid_days", "1..3,650")?;
    let web = product.image_url.is_empty() || product.image_url.starts_with("https://");
    require(
        web && product.image_url.len() <= 2_048,
        "image_url",
        "an https:// address of at most 2,048 bytes, or none",
    )?;
    require(CodeForm::try_from(product.code_form).is_ok(), "code_form", "BASE32 or DIGITS")?;
    let falling = product.remind_days.is_sorted_by(|far, near| far > near);
    let within = product.remind_days.iter().all(|days| (1..product.valid_days).contains(days));
    require(
        product.remind_days.len() <= 8 && falling && within,
        "remind_days",
        "at most 8 numbers of days, falling, each 1 or more and less than valid_days",
    )?;
    require(product.remind_hour <= 23, "remind_hour", "0..23")
}

/// The product with this id.
///
/// # Errors
///
/// The rows cannot be read.
pub fn get(rows: &dyn Read, namespace: &str, id: &str) -> Result<Option<Product>, StoreError> {
    stored::read(rows, "product", &keys::product(namespace, id))
}

/// Products in the order of their ids, behind `after`: at most `max`.
///
/// # Errors
///
/// The rows cannot be read.
pub fn list(rows: &dyn Read, namespace: &str, after: &str, max: usize) -> Result<Vec<Product>, StoreError> {
    let (mut from, to) = keys::namespace_range(keys::PRODUCT, namespace);
    if !after.is_empty() {
        from = keys::product(namespace, after);
        from.push(0);
    }
    let mut found = Vec::new();
    let mut broken = None;
    rows.scan(&from, &to, &mut |_, value| {
        match stored::decode("product", value) {
            Ok(product) => found.push(product),
            Err(error) => broken = Some(error),
        }
        if broken.is_some() || found.len() >= max {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    })?;
    broken.map_or(Ok(found), Err)
}
