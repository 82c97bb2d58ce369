//! `bosingak gift`: gifts, for who gives, who sells, and who looks after them.

mod people;
mod reserve;
mod show;

use clap::{Args, Subcommand};
use futures::{Stream, TryStreamExt};
use proto::gift::v1::{
    CancelGiftRequest, EditGiftRequest, GetGiftRequest, Gift, GiftReceipt, ListAttentionRequest, ListGiftsRequest,
    OpenGiftRequest, RedeemGiftRequest, ResolveGiftRequest, WatchGiftRequest,
};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, remark};
use crate::table::{Table, clean, cut};
use crate::{json, moment, money};

/// What can be done with gifts.
#[derive(Subcommand)]
pub enum Verb {
    /// Reserves a gift and takes the money.
    Reserve(Box<reserve::Options>),
    /// Shows one gift, with what happened to it.
    Get {
        /// Which.
        id: String,
        #[command(flatten)]
        sender: OfSender,
    },
    /// Lists the gifts of a sender, the newest first within each partition.
    List {
        /// Whose, by the id they were reserved with.
        #[arg(long, value_name = "ID")]
        sender: String,
        /// At most this many; 0 is all.
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
    /// Changes recipient, message or time, until an hour before it is sent.
    Edit(Box<EditOptions>),
    /// Takes a gift back, until the moment it is sent.
    Cancel {
        /// Which.
        id: String,
        #[command(flatten)]
        sender: OfSender,
        /// Only if this is still its version.
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "VERSION")]
        expected: u64,
    },
    /// Follows one gift until it has ended.
    Watch {
        /// Which.
        id: String,
        #[command(flatten)]
        sender: OfSender,
        /// End after this many changes, the gift as it is counted; 0 goes on.
        #[arg(long, default_value_t = 0, value_name = "N")]
        count: u64,
    },
    /// Shows what the page of a link shows. Changes nothing.
    Open {
        /// The link, or its last part.
        link: String,
    },
    /// A shop takes a code.
    Redeem {
        /// As it was typed or scanned.
        code: String,
        /// Which shop.
        #[arg(long)]
        shop: String,
    },
    /// Lists the gifts that wait for a human, with the reason.
    Attention {
        /// At most this many; 0 is all.
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: usize,
    },
    /// Says of a gift in SEND_UNKNOWN whether it was sent. Of one that was not, the money goes back.
    Resolve {
        /// Which.
        id: String,
        #[command(flatten)]
        found: Found,
        /// Who found out.
        #[arg(long, value_name = "NAME")]
        operator: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Whose gift it has to be.
#[derive(Args, Debug, Default)]
pub struct OfSender {
    /// Only if it is of this sender.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    sender: String,
}

/// What an operator found out.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Found {
    /// The recipient has it.
    #[arg(long)]
    sent: bool,
    /// Nobody has it.
    #[arg(long)]
    not_sent: bool,
}

/// What is to be another.
#[derive(Args)]
pub struct EditOptions {
    /// Which.
    id: String,
    #[command(flatten)]
    sender: OfSender,
    #[command(flatten)]
    recipient: people::Recipient,
    /// What the sender writes.
    #[arg(long)]
    message: Option<String>,
    /// When it is to be sent, as in reserve.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Only if this is still its version.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "VERSION")]
    expected: u64,
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Reserve(options) => reserve::run(context, *options).await,
        Verb::Get { id, sender } => {
            let request = GetGiftRequest { gift_id: id, sender_id: sender.sender, ..Default::default() };
            let gift = context.client.get_gift(request).await?;
            whole(context, &gift)
        }
        Verb::List { sender, limit } => {
            let request = ListGiftsRequest { sender_id: sender, page_size: page(limit), ..Default::default() };
            let client = context.client.clone();
            list(context, client.list_all_gifts(request), limit, show::table).await
        }
        Verb::Edit(options) => edit(context, *options).await,
        Verb::Cancel { id, sender, expected } => {
            let request = CancelGiftRequest {
                gift_id: id,
                sender_id: sender.sender,
                expected_version: expected,
                ..Default::default()
            };
            let answer = context.client.cancel_gift(request).await?;
            if context.out.is_json() {
                context.out.message(&answer)?;
                return Ok(0);
            }
            let gift = answer.gift.unwrap_or_default();
            let price = money::price(gift.product.as_ref().map_or(0, |product| product.price_won));
            let line = format!("{} is cancelled in time, {price} go back{}", clean(&gift.id), decided(answer.receipt));
            context.out.line(&line)?;
            Ok(0)
        }
        Verb::Watch { id, sender, count } => watch(context, id, sender, count).await,
        Verb::Open { link } => open(context, &link).await,
        Verb::Redeem { code, shop } => {
            let answer = context.client.redeem_gift(RedeemGiftRequest { code, shop, ..Default::default() }).await?;
            if context.out.is_json() {
                context.out.message(&answer)?;
                return Ok(0);
            }
            let product = answer.gift.unwrap_or_default().product.unwrap_or_default();
            let what = clean(&format!("{} {}", product.brand, product.name));
            let line = format!("{what} for {}{}", money::price(product.price_won), decided(answer.receipt));
            context.out.line(&line)?;
            Ok(0)
        }
        Verb::Attention { limit } => {
            let request = ListAttentionRequest { page_size: page(limit), ..Default::default() };
            let client = context.client.clone();
            list(context, client.list_all_attention(request), limit, show::attention).await
        }
        Verb::Resolve { id, found, operator, confirm } => {
            let what = if found.sent { "was sent" } else { "was not sent, and gives the money back" };
            confirm.ask(&format!("saying that {} {what}", clean(&id)))?;
            let request = ResolveGiftRequest { gift_id: id, was_sent: found.sent, operator, ..Default::default() };
            let gift = context.client.resolve_gift(request).await?;
            if context.out.is_json() {
                context.out.message(&gift)?;
            } else {
                context.out.line(&format!("{} is {}", clean(&gift.id), show::state(&gift)))?;
            }
            Ok(0)
        }
    }
}

/// Items in a page of a list.
fn page(limit: usize) -> u32 {
    if limit == 0 { 1_000 } else { u32::try_from(limit).unwrap_or(1_000).min(1_000) }
}

async fn list(
    context: &mut Context,
    found: impl Stream<Item = Result<Gift, client::Error>>,
    limit: usize,
    table: fn(&[Gift]) -> Table,
) -> Result<u8, Failure> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut found = Box::pin(found);
    let mut gifts: Vec<Gift> = Vec::new();
    let mut cut_off = false;
    while let Some(gift) = found.try_next().await? {
        if gifts.len() == limit {
            cut_off = true;
            break;
        }
        gifts.push(gift);
    }
    if context.out.format == Format::Table {
        context.out.table(&table(&gifts))?;
    } else {
        let values: Result<Vec<_>, _> = gifts.iter().map(json::value).collect();
        context.out.list("gifts", values?, None)?;
    }
    if cut_off {
        remark(context.out.format, "there are more: --limit 0 for all");
    }
    Ok(0)
}

async fn edit(context: &mut Context, options: EditOptions) -> Result<u8, Failure> {
    let recipient = options.recipient.party();
    let send = options.at.as_deref().map(people::send_time).transpose()?;
    if recipient.is_none() && options.message.is_none() && send.is_none() {
        let hint = "--at 2027-02-14, --message TEXT or --to-phone NUMBER (what is not said of the recipient is empty)";
        return Err(Failure::usage("--at", "say what is to be another", hint));
    }
    let request = EditGiftRequest {
        gift_id: options.id,
        sender_id: options.sender.sender,
        expected_version: options.expected,
        recipient,
        message: options.message,
        send,
        ..EditGiftRequest::default()
    };
    let answer = context.client.edit_gift(request).await?;
    if context.out.is_json() {
        context.out.message(&answer)?;
        return Ok(0);
    }
    let gift = answer.gift.unwrap_or_default();
    let line = format!("{} is sent {}, version {}", clean(&gift.id), moment::both(gift.send_at), gift.version);
    context.out.line(&line)?;
    Ok(0)
}

async fn watch(context: &mut Context, id: String, sender: OfSender, count: u64) -> Result<u8, Failure> {
    let request = WatchGiftRequest { gift_id: id, sender_id: sender.sender, ..Default::default() };
    let mut watch = context.client.watch_gift(request);
    let mut seen = 0;
    while count == 0 || seen < count {
        let gift = tokio::select! {
            gift = watch.next() => gift?,
            // A watch that is interrupted has done what it was asked.
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(gift) = gift else { break };
        seen += 1;
        if context.out.format != Format::Table {
            context.out.event(&json::value(&gift)?)?;
            continue;
        }
        let last = gift.events.last().cloned().unwrap_or_default();
        let what = cut(&clean(&last.what), 50);
        let line = format!("{:<20} {:<15} {what}", moment::show(last.at), show::state(&gift));
        context.out.line(line.trim_end())?;
        context.out.flush()?;
    }
    Ok(0)
}

async fn open(context: &mut Context, link: &str) -> Result<u8, Failure> {
    let token = token(link)?;
    let page = context.client.open_gift(OpenGiftRequest { token, ..Default::default() }).await?;
    if context.out.is_json() {
        context.out.message(&page)?;
        return Ok(0);
    }
    if page.passed_on {
        context.out.line("this link was passed on: the gift is somebody else's")?;
        return Ok(0);
    }
    let gift = page.gift.unwrap_or_default();
    rows(context, &show::detail(&gift))?;
    if !page.code.is_empty() {
        context.out.line(&format!("{:<12} {}", "CODE", clean(&page.code)))?;
    }
    Ok(0)
}

/// The last part of a link.
fn token(link: &str) -> Result<String, Failure> {
    let token = link.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::usage("LINK", "expected a link to a gift, or its last part", "https://…/g/…"));
    }
    Ok(token.to_owned())
}

/// Everything about a gift.
fn whole(context: &mut Context, gift: &Gift) -> Result<u8, Failure> {
    if context.out.is_json() {
        context.out.message(gift)?;
        return Ok(0);
    }
    rows(context, &show::detail(gift))?;
    if !gift.events.is_empty() {
        context.out.line("")?;
        context.out.table(&show::events(&gift.events))?;
    }
    Ok(0)
}

fn rows(context: &mut Context, rows: &[(&'static str, String)]) -> Result<(), Failure> {
    for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        context.out.line(&format!("{name:<12} {text}"))?;
    }
    Ok(())
}

/// What the log says about it.
fn decided(receipt: Option<GiftReceipt>) -> String {
    let of = |receipt: GiftReceipt| format!(" (partition {}, log index {})", receipt.partition, receipt.log_index);
    receipt.map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_and_its_last_part_are_the_same() {
        for link in ["AbC-_1", "http://127.0.0.1:7300/g/AbC-_1", " https://gift.example.com/g/AbC-_1/ "] {
            assert_eq!(token(link).ok().as_deref(), Some("AbC-_1"), "{link}");
        }
        assert!(token(" / ").is_err());
    }
}
