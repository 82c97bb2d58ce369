//! Products in the public protocol and as they are stored.

use domain::product::{CodeForm, Product};
use proto::product::v1;

/// Days a gift can be used when nobody says.
const VALID_DAYS: u32 = 30;
/// Days before expiry on which the recipient is reminded when nobody says.
const REMIND_DAYS: [u32; 2] = [3, 1];
/// And the hour.
const REMIND_HOUR: u32 = 10;

/// As it is stored, with what was left open filled in.
pub(crate) fn stored(product: v1::Product) -> Product {
    let valid_days = if product.valid_days == 0 { VALID_DAYS } else { product.valid_days };
    let remind_days = match product.remind_days.is_empty() {
        true => REMIND_DAYS.into_iter().filter(|days| *days < valid_days).collect(),
        false => product.remind_days,
    };
    let code_form = match v1::CodeForm::try_from(product.code_form) {
        Ok(v1::CodeForm::Unspecified | v1::CodeForm::Base32) => CodeForm::Base32.into(),
        Ok(v1::CodeForm::Digits) => CodeForm::Digits.into(),
        // Refused where the fields are checked.
        Err(_) => i32::MAX,
    };
    Product {
        id: product.id,
        version: product.version,
        name: product.name,
        brand: product.brand,
        price_won: product.price_won,
        valid_days,
        image_url: product.image_url,
        code_form,
        on_sale: product.on_sale,
        remind_days,
        remind_hour: product.remind_hour.unwrap_or(REMIND_HOUR),
    }
}

/// As the protocol shows it.
pub(crate) fn shown(product: Product) -> v1::Product {
    let code_form = match product.code_form() {
        CodeForm::Base32 => v1::CodeForm::Base32,
        CodeForm::Digits => v1::CodeForm::Digits,
    };
    v1::Product {
        code_form: code_form.into(),
        id: product.id,
        version: product.version,
        name: product.name,
        brand: product.brand,
        price_won: product.price_won,
        valid_days: product.valid_days,
        image_url: product.image_url,
        on_sale: product.on_sale,
        remind_days: product.remind_days,
        remind_hour: Some(product.remind_hour),
    }
}
