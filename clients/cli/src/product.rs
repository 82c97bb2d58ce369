//! `bosingak product`: what can be given.

use clap::{Args, Subcommand, ValueEnum};
use futures::TryStreamExt;
use proto::product::v1::{CodeForm, GetProductRequest, ListProductsRequest, Product, PutProductRequest};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, remark};
use crate::table::{Table, clean, cut};
use crate::{json, money};

/// What can be done with products.
#[derive(Subcommand)]
pub enum Verb {
    /// Creates or replaces a product. Gifts that are reserved keep the one they were reserved with.
    Put(Box<PutOptions>),
    /// Shows one product.
    Get {
        /// Which.
        id: String,
    },
    /// Lists products in order of partition and id.
    List {
        /// At most this many; 0 is all.
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
}

/// What a product is.
#[derive(Args)]
pub struct PutOptions {
    /// 1 to 64 characters of [A-Za-z0-9._-].
    id: String,
    /// As people read it.
    #[arg(long)]
    name: String,
    /// Whose it is.
    #[arg(long)]
    brand: String,
    /// In won.
    #[arg(long, value_name = "WON")]
    price: u64,
    /// Days a gift of it can be used, the day it is sent not counted; 30 unless said.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "DAYS")]
    valid_days: u32,
    /// A picture, https://.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    image_url: String,
    /// How its codes look.
    #[arg(long, value_enum, default_value_t = Form::Base32)]
    code_form: Form,
    /// It cannot be given for now.
    #[arg(long)]
    off_sale: bool,
    /// Days before its end on which the recipient is reminded, falling; 3,1 unless said.
    #[arg(long, value_delimiter = ',', value_name = "DAYS")]
    remind_days: Vec<u32>,
    /// Hour of those days where the recipient is, 0 to 23; 10 unless said.
    #[arg(long, value_name = "HOUR")]
    remind_hour: Option<u32>,
    /// Only if this is still its version.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "VERSION")]
    expected: u64,
}

/// How codes look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    /// 16 letters and digits.
    Base32,
    /// 20 digits.
    Digits,
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Put(options) => {
            let product = context.client.put_product(request(*options)).await?;
            if context.out.is_json() {
                context.out.message(&product)?;
            } else {
                let (id, version) = (clean(&product.id), product.version);
                let sale = if product.on_sale { "on sale" } else { "not on sale" };
                let price = money::price(product.price_won);
                context.out.line(&format!("{id} is {sale} for {price}, version {version}"))?;
            }
        }
        Verb::Get { id } => {
            let product = context.client.get_product(GetProductRequest { id, ..Default::default() }).await?;
            if context.out.is_json() {
                context.out.message(&product)?;
            } else {
                for (name, text) in detail(&product) {
                    if !text.is_empty() {
                        context.out.line(&format!("{name:<12} {text}"))?;
                    }
                }
            }
        }
        Verb::List { limit } => return list(context, limit).await,
    }
    Ok(0)
}

fn request(options: PutOptions) -> PutProductRequest {
    let code_form = match options.code_form {
        Form::Base32 => CodeForm::Base32,
        Form::Digits => CodeForm::Digits,
    };
    let product = Product {
        id: options.id,
        version: 0,
        name: options.name,
        brand: options.brand,
        price_won: options.price,
        valid_days: options.valid_days,
        image_url: options.image_url,
        code_form: code_form.into(),
        on_sale: !options.off_sale,
        remind_days: options.remind_days,
        remind_hour: options.remind_hour,
    };
    PutProductRequest { product: Some(product), expected_version: options.expected, ..Default::default() }
}

async fn list(context: &mut Context, limit: usize) -> Result<u8, Failure> {
    let page_size = if limit == 0 { 1_000 } else { u32::try_from(limit).unwrap_or(1_000).min(1_000) };
    let request = ListProductsRequest { page_size, ..ListProductsRequest::default() };
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut found = Box::pin(context.client.list_all_products(request));
    let mut products: Vec<Product> = Vec::new();
    let mut cut_off = false;
    while let Some(product) = found.try_next().await? {
        if products.len() == limit {
            cut_off = true;
            break;
        }
        products.push(product);
    }
    if context.out.format == Format::Table {
        context.out.table(&table(&products))?;
    } else {
        let values: Result<Vec<_>, _> = products.iter().map(json::value).collect();
        context.out.list("products", values?, None)?;
    }
    if cut_off {
        remark(context.out.format, "there are more: --limit 0 for all");
    }
    Ok(0)
}

fn table(products: &[Product]) -> Table {
    let mut table = Table::new(&["ID", "BRAND", "NAME", "PRICE", "DAYS", "ON SALE", "VERSION"]);
    for product in products {
        table.row([
            product.id.clone(),
            cut(&clean(&product.brand), 20),
            cut(&clean(&product.name), 40),
            money::price(product.price_won),
            product.valid_days.to_string(),
            if product.on_sale { "yes" } else { "no" }.to_owned(),
            product.version.to_string(),
        ]);
    }
    table
}

fn detail(product: &Product) -> Vec<(&'static str, String)> {
    let days: Vec<String> = product.remind_days.iter().map(|day| format!("D-{day}")).collect();
    let hour = product.remind_hour.map(|hour| format!(" at {hour}:00")).unwrap_or_default();
    let remind = if days.is_empty() { String::new() } else { format!("{}{hour}", days.join(", ")) };
    vec![
        ("ID", clean(&product.id)),
        ("BRAND", clean(&product.brand)),
        ("NAME", clean(&product.name)),
        ("PRICE", money::price(product.price_won)),
        ("VALID", format!("{} days", product.valid_days)),
        ("REMINDERS", remind),
        ("CODES", product.code_form().as_str_name().trim_start_matches("CODE_FORM_").to_lowercase()),
        ("IMAGE", clean(&product.image_url)),
        ("ON SALE", if product.on_sale { "yes" } else { "no" }.to_owned()),
        ("VERSION", product.version.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_won_and_wide_letters_line_up() {
        let product = Product {
            id: "coffee".into(),
            version: 3,
            name: "아메리카노".into(),
            brand: "별다방".into(),
            price_won: 4_500,
            valid_days: 30,
            on_sale: true,
            remind_days: vec![3, 1],
            remind_hour: Some(10),
            ..Product::default()
        };
        let expected = "ID      BRAND   NAME        PRICE      DAYS  ON SALE  VERSION\n\
                        coffee  별다방  아메리카노  4,500 won  30    yes      3\n";
        assert_eq!(table(std::slice::from_ref(&product)).to_string(), expected);
        assert!(detail(&product).contains(&("REMINDERS", "D-3, D-1 at 10:00".to_owned())));
    }
}
