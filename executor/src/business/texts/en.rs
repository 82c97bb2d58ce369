//! English.

use super::facts::Facts;
use super::{Subject, Words};

/// With room.
pub(super) fn long(subject: Subject, facts: &Facts) -> Words {
    let Facts { sender, recipient, product, brand, price, .. } = facts;
    let what = if brand.is_empty() { product.clone() } else { format!("{product} by {brand}") };
    let until = match facts.expires_at.as_str() {
        "" => String::new(),
        expires_at => format!("\nUse it before: {expires_at}"),
    };
    let (title, body, label) = match subject {
        Subject::Gift => {
            let message = if facts.message.is_empty() { String::new() } else { format!("\n\n“{}”", facts.message) };
            let body = format!("Dear {recipient}, {sender} has sent you a gift.{message}\n\nGift: {what}{until}");
            (format!("A gift from {sender}"), body, "Open the gift")
        }
        Subject::Reserved => {
            let body = format!("Your gift for {recipient} is reserved.\n\nGift: {what}\nPaid: {price}");
            let send_at = match facts.send_at.as_str() {
                "" => String::new(),
                send_at => format!("\nTo be sent: {send_at}"),
            };
            ("Your gift is reserved".to_owned(), body + &send_at, "")
        }
        Subject::Sent => {
            let body = format!("Your gift for {recipient} is on its way.\n\nGift: {what}{until}");
            ("Your gift was sent".to_owned(), body, "")
        }
        Subject::Received => {
            ("Your gift was received".to_owned(), format!("{recipient} has received your gift.\n\nGift: {what}"), "")
        }
        Subject::Failed => {
            let body = format!(
                "Your gift for {recipient} could not be sent. The {price} you paid will be refunded.\n\nGift: {what}"
            );
            ("Your gift could not be sent".to_owned(), body, "")
        }
        Subject::PassOn => {
            let body = format!(
                "We do not know how to reach {recipient}. Please pass this link on yourself.\n\nGift: {what}{until}"
            );
            ("Please pass on your gift".to_owned(), body, "Gift link")
        }
        Subject::Refunded => {
            let body = format!("We have refunded {price} for your gift to {recipient}.\n\nGift: {what}");
            ("Your refund is done".to_owned(), body, "")
        }
        Subject::Arrived => {
            let body = format!("Dear {recipient}, a gift from {sender} was passed on to you.\n\nGift: {what}{until}");
            ("A gift has arrived".to_owned(), body, "Open the gift")
        }
        Subject::ExpiresSoon => {
            let body = format!("Dear {recipient}, you have a gift you have not used yet.\n\nGift: {what}{until}");
            ("Your gift expires soon".to_owned(), body, "See the gift")
        }
        Subject::Attention => {
            let reason = if facts.reason.is_empty() { "no reason known" } else { &facts.reason };
            ("A gift needs attention".to_owned(), format!("Gift {}: {reason}", facts.gift), "")
        }
        Subject::Declined => {
            let body = format!(
                "The payment was declined, so your gift for {recipient} is not reserved. Nothing was taken.\n\nGift: {what}"
            );
            ("Your gift is not reserved".to_owned(), body, "")
        }
        Subject::TerminalLocked => {
            let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
            let until = if facts.until.is_empty() { String::new() } else { format!(" Locked until {}.", facts.until) };
            let body = format!(
                "Shop {}, terminal {}: wrong ten times within an hour.{until}",
                known(&facts.shop),
                known(&facts.terminal)
            );
            ("A shop's terminal is locked".to_owned(), body, "")
        }
    };
    Words { title, body, label }
}

/// For a text message: 90 bytes.
pub(super) fn short(subject: Subject, facts: &Facts) -> Words {
    let Facts { sender, recipient, product, price, .. } = facts;
    let until = match facts.expires_at_short.as_str() {
        "" => String::new(),
        expires_at => format!(" Use before {expires_at}"),
    };
    let (title, text, label) = match subject {
        Subject::Gift => ("A gift for you", format!("{sender} sent you {product}.{until}"), "Open the gift"),
        Subject::Reserved => {
            let send_at = match facts.send_at_short.as_str() {
                "" => String::new(),
                send_at => format!(", to be sent {send_at}"),
            };
            ("Your gift is reserved", format!("{product} for {recipient} reserved{send_at}"), "")
        }
        Subject::Sent => ("Your gift was sent", format!("{product} was sent to {recipient}."), ""),
        Subject::Received => ("Your gift was received", format!("{recipient} received {product}."), ""),
        Subject::Failed => {
            ("Your gift could not be sent", format!("Gift for {recipient} not sent. {price} refunded soon."), "")
        }
        Subject::PassOn => {
            ("Please pass on your gift", format!("Pass this link on to {recipient}.{until}"), "Gift link")
        }
        Subject::Refunded => ("Your refund is done", format!("{price} refunded: gift for {recipient}"), ""),
        Subject::Arrived => ("A gift has arrived", format!("{sender} sent you {product}.{until}"), "Open the gift"),
        Subject::ExpiresSoon => {
            ("Your gift expires soon", format!("{product} is not used yet.{until}"), "See the gift")
        }
        Subject::Attention => ("A gift needs attention", format!("Gift {} needs attention", facts.gift), ""),
        Subject::Declined => {
            ("Your gift is not reserved", format!("Payment declined: gift for {recipient} not reserved."), "")
        }
        Subject::TerminalLocked => ("A shop's terminal is locked", "A shop's terminal is locked.".to_owned(), ""),
    };
    Words { title: title.to_owned(), body: format!("[Bosingak] {text}"), label }
}
