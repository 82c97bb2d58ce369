//! Gifts as people read them.

use proto::gift::v1::{Channel, Gift, GiftEvent, Party};

use crate::table::{Table, clean, cut};
use crate::{moment, money};

/// Name of a state as people say it.
pub fn state(gift: &Gift) -> String {
    gift.state().as_str_name().trim_start_matches("GIFT_STATE_").to_owned()
}

/// One per line.
pub fn table(gifts: &[Gift]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "PRODUCT", "PRICE", "TO", "SEND AT", "EXPIRES"]);
    for gift in gifts {
        let product = gift.product.clone().unwrap_or_default();
        table.row([
            gift.id.clone(),
            state(gift),
            cut(&clean(&product.name), 30),
            money::price(product.price_won),
            cut(&person(gift.recipient.as_ref()), 40),
            moment::show(gift.send_at),
            moment::show(gift.expires_at),
        ]);
    }
    table
}

/// Those that wait for a human, with the reason.
pub fn attention(gifts: &[Gift]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "PRICE", "CHANNEL", "TROUBLE"]);
    for gift in gifts {
        let price = gift.product.as_ref().map_or(0, |product| product.price_won);
        table.row([
            gift.id.clone(),
            state(gift),
            money::price(price),
            channel(gift.channel()),
            cut(&clean(&gift.trouble), 70),
        ]);
    }
    table
}

/// Everything about one.
pub fn detail(gift: &Gift) -> Vec<(&'static str, String)> {
    let product = gift.product.clone().unwrap_or_default();
    let local = gift.send_at_local.as_ref().map(|local| format!("{} {}", local.date_time, local.time_zone));
    vec![
        ("ID", clean(&gift.id)),
        ("STATE", state(gift)),
        ("PRODUCT", clean(&format!("{} {}", product.brand, product.name))),
        ("PRICE", money::price(product.price_won)),
        ("FROM", person(gift.sender.as_ref())),
        ("TO", person(gift.recipient.as_ref())),
        ("MESSAGE", clean(&gift.message)),
        ("SEND AT", moment::both(gift.send_at)),
        ("LOCAL TIME", clean(&local.unwrap_or_default())),
        ("CHANNEL", channel(gift.channel())),
        ("EXPIRES", moment::both(gift.expires_at)),
        ("PASSED ON", if gift.transferred { "yes".to_owned() } else { String::new() }),
        ("SHOP", clean(&gift.shop)),
        ("TROUBLE", clean(&gift.trouble)),
        ("CREATED", moment::show(gift.created)),
        ("VERSION", gift.version.to_string()),
    ]
}

/// What happened to one, in order.
pub fn events(events: &[GiftEvent]) -> Table {
    let mut table = Table::new(&["AT", "STATE", "WHAT", "LOG INDEX"]);
    for event in events {
        table.row([
            moment::show(event.at),
            event.state().as_str_name().trim_start_matches("GIFT_STATE_").to_owned(),
            cut(&clean(&event.what), 60),
            event.log_index.to_string(),
        ]);
    }
    table
}

/// A name, and where they are reached.
fn person(party: Option<&Party>) -> String {
    let Some(party) = party else { return String::new() };
    let addresses = [&party.phone, &party.kakao, &party.email];
    let address = addresses.into_iter().find(|address| !address.is_empty());
    let words = [Some(&party.name), address, Some(&party.id)];
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).filter(|word| !word.is_empty()).collect();
    clean(&words[..words.len().min(2)].join(" "))
}

fn channel(channel: Channel) -> String {
    match channel {
        Channel::Unspecified => String::new(),
        channel => channel.as_str_name().trim_start_matches("CHANNEL_").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::gift::v1::GiftState;
    use proto::product::v1::Product;

    fn gift() -> Gift {
        let product = Product { name: "아메리카노".into(), price_won: 4_500, ..Product::default() };
        let recipient = Party { name: "이종각".into(), phone: "+821012345678".into(), ..Party::default() };
        Gift {
            id: "gift-1".into(),
            state: GiftState::Reserved.into(),
            product: Some(product),
            recipient: Some(recipient),
            send_at: Some(prost_types::Timestamp { seconds: 1_802_530_800, nanos: 0 }),
            message: "축하해\x1b[2J".into(),
            ..Gift::default()
        }
    }

    #[test]
    fn a_gift_is_a_line() {
        let text = table(&[gift()]).to_string();
        let line = text.lines().nth(1).expect("a line");
        let expected = "gift-1  RESERVED  아메리카노  4,500 won  이종각 +821012345678  2027-02-13T15:00:00Z  -";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_somebody_wrote_plays_no_tricks() {
        let rows = detail(&gift());
        assert!(rows.contains(&("MESSAGE", "축하해\\u{1b}[2J".to_owned())), "{rows:?}");
        assert!(rows.contains(&("CHANNEL", String::new())));
    }
}
