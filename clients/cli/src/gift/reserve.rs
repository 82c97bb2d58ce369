//! `bosingak gift reserve`.

use clap::Args;
use proto::gift::v1::{GiftState, Party, PaymentRequest, ReserveRequest};
use proto::product::v1::GetProductRequest;

use super::{people, show};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::remark;
use crate::table::clean;
use crate::{moment, money};

/// Who gives what to whom, when, and how it was paid.
#[derive(Args)]
pub struct Options {
    /// 1 to 64 characters of [A-Za-z0-9_-], also the order's id at the payment provider: the same again is answered like the first.
    id: String,
    /// Id of the product.
    #[arg(long, value_name = "ID")]
    product: String,
    /// Who gives, by an id of yours.
    #[arg(long, value_name = "ID")]
    sender: String,
    /// Name of who gives.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    sender_name: String,
    /// Where news go: phone number of who gives.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NUMBER")]
    sender_phone: String,
    /// Where news go: e-mail address of who gives.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS")]
    sender_email: String,
    #[command(flatten)]
    recipient: people::Recipient,
    /// What the sender writes, at most 500 characters.
    #[arg(long, default_value = "", hide_default_value = true)]
    message: String,
    /// When it is to be sent, 10 minutes to 366 days ahead: 2027-02-14 for its midnight or "2027-02-14 09:30", where the recipient is
    /// unless a zone follows; or a moment in RFC 3339.
    #[arg(long, value_name = "TIME")]
    at: String,
    /// What the provider's widget answered the payer.
    #[arg(long, value_name = "KEY")]
    payment_key: String,
    /// What was paid, in won; the price of the product unless said.
    #[arg(long, value_name = "WON")]
    amount: Option<u64>,
    /// Payment provider; the cluster's own unless said.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    provider: String,
}

pub async fn run(context: &mut Context, options: Options) -> Result<u8, Failure> {
    let send = people::send_time(&options.at)?;
    let amount_won = match options.amount {
        Some(amount) => amount,
        None => {
            let request = GetProductRequest { id: options.product.clone(), ..GetProductRequest::default() };
            context.client.get_product(request).await.map_err(Failure::from)?.price_won
        }
    };
    let sender = Party {
        id: options.sender,
        name: options.sender_name,
        phone: options.sender_phone,
        email: options.sender_email,
        ..Party::default()
    };
    let payment = PaymentRequest {
        provider: options.provider,
        payment_key: options.payment_key,
        amount_won,
        ..PaymentRequest::default()
    };
    let answer = context
        .client
        .reserve_gift(ReserveRequest {
            gift_id: options.id,
            product_id: options.product,
            sender: Some(sender),
            recipient: options.recipient.party(),
            message: options.message,
            send: Some(send),
            payment: Some(payment),
            ..ReserveRequest::default()
        })
        .await?;
    let gift = answer.gift.clone().unwrap_or_default();
    if context.out.is_json() {
        context.out.message(&answer)?;
    } else {
        let payment = answer.payment.unwrap_or_default();
        let line = match gift.state() {
            GiftState::Failed => format!("{} was not paid: {}", clean(&gift.id), clean(&payment.error)),
            _ => format!(
                "{} is {}, {} captured, to be sent {}",
                clean(&gift.id),
                show::state(&gift),
                money::price(payment.captured_won),
                moment::both(gift.send_at),
            ),
        };
        context.out.line(&line)?;
    }
    if gift.state() == GiftState::PendingPayment {
        let id = clean(&gift.id);
        remark(context.out.format, &format!("the payment is asked about until it is known: gift watch {id}"));
    }
    // A declined payment is an answer, and no success.
    Ok(if gift.state() == GiftState::Failed { crate::failure::CONFLICT } else { 0 })
}
