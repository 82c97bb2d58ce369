//! What a text is made of, as it is written in a language.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proto::gift::v1::BeginSendResponse;
use proto::notification::v1::Notice;

use crate::providers::message::Language;

use super::super::person;

/// Characters of a name in a text message, which has 90 bytes for everything.
const SHORT_NAME_CHARS: usize = 6;
/// Characters of a product there.
const SHORT_PRODUCT_CHARS: usize = 8;

/// What a text is made of, as it is written in the language it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Name of the gift in the books; for operators only.
    pub gift: String,
    /// Name of who gives, or a word for somebody.
    pub sender: String,
    /// Name of who gets it, or a word for somebody.
    pub recipient: String,
    /// Name of the product.
    pub product: String,
    /// Its brand.
    pub brand: String,
    /// With separators and the currency.
    pub price: String,
    /// What the sender wrote; lines are kept. Empty in news.
    pub message: String,
    /// When it is sent, in the reader's zone; empty when not known.
    pub send_at: String,
    /// The same with day and time only.
    pub send_at_short: String,
    /// Before when it can be used, in the reader's zone; empty when not known.
    pub expires_at: String,
    /// The same with day and time only.
    pub expires_at_short: String,
    /// What went wrong; for operators only.
    pub reason: String,
    /// A shop, for operators only.
    pub shop: String,
    /// One of its terminals, for operators only.
    pub terminal: String,
    /// Until when it is locked, in Seoul; empty when not known.
    pub until: String,
}

impl Facts {
    /// Of news, for whoever gets them.
    pub(crate) fn of_notice(notice: &Notice, language: Language) -> Self {
        let zone = person::zone(notice.to.as_ref().unwrap_or(&Default::default()));
        let send_at = moment(notice.send_at_ms, &zone);
        let expires_at = moment(notice.expires_at_ms, &zone);
        Facts {
            gift: line(&notice.gift, 64),
            sender: name(&notice.sender_name, language),
            recipient: name(&notice.recipient_name, language),
            product: line(&notice.product, 100),
            brand: line(&notice.brand, 60),
            price: won(notice.price_won, language),
            message: String::new(),
            send_at: date(&send_at, language),
            send_at_short: short_date(&send_at, language),
            expires_at: date(&expires_at, language),
            expires_at_short: short_date(&expires_at, language),
            reason: line(&notice.reason, 256),
            shop: line(&notice.shop, 64),
            terminal: line(&notice.terminal, 64),
            until: short_date(&moment(notice.until_ms, &zone), language),
        }
    }

    /// Of a gift that is being sent, for its recipient.
    pub(crate) fn of_turn(gift: &str, turn: &BeginSendResponse, language: Language) -> Self {
        let product = turn.product.clone().unwrap_or_default();
        let recipient = turn.recipient.clone().unwrap_or_default();
        let expires_at = turn.expires_at.and_then(|at| {
            let at = Timestamp::new(at.seconds, at.nanos).ok()?;
            Some(at.to_zoned(person::zone(&recipient)))
        });
        Facts {
            gift: line(gift, 64),
            sender: name(&turn.sender_name, language),
            recipient: name(&recipient.name, language),
            product: line(&product.name, 100),
            brand: line(&product.brand, 60),
            price: won(product.price_won, language),
            message: lines(&turn.message, 500),
            expires_at: date(&expires_at, language),
            expires_at_short: short_date(&expires_at, language),
            ..Facts::default()
        }
    }

    /// With names as text messages have room for.
    pub(super) fn shortened(&self) -> Self {
        Facts {
            sender: short(&self.sender, SHORT_NAME_CHARS),
            recipient: short(&self.recipient, SHORT_NAME_CHARS),
            product: short(&self.product, SHORT_PRODUCT_CHARS),
            ..self.clone()
        }
    }

    /// By the name a template's settings have for it.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        Some(match name {
            "sender" => &self.sender,
            "recipient" => &self.recipient,
            "product" => &self.product,
            "brand" => &self.brand,
            "price" => &self.price,
            "message" => &self.message,
            "send_at" => &self.send_at,
            "expires_at" => &self.expires_at,
            _ => return None,
        })
    }
}

fn short(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars - 1).collect();
    format!("{}…", kept.trim_end())
}

/// On one line: whatever somebody calls themselves, it is part of a sentence of ours.
fn line(text: &str, chars: usize) -> String {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    short(&words.join(" "), chars)
}

/// As it was written, without what no text has.
fn lines(text: &str, chars: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).take(chars).collect();
    text.trim().to_owned()
}

fn name(text: &str, language: Language) -> String {
    match (line(text, 60), language) {
        (name, Language::Korean) if name.is_empty() => "누군가".to_owned(),
        (name, Language::English) if name.is_empty() => "Someone".to_owned(),
        (name, _) => name,
    }
}

fn won(amount: u64, language: Language) -> String {
    let digits = amount.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    match language {
        Language::Korean => format!("{text}원"),
        Language::English => format!("KRW {text}"),
    }
}

type Moment = Option<jiff::Zoned>;

fn moment(ms: u64, zone: &TimeZone) -> Moment {
    let ms = i64::try_from(ms).ok().filter(|ms| *ms > 0)?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.clone()))
}

fn date(at: &Moment, language: Language) -> String {
    let format = match language {
        Language::Korean => "%Y년 %-m월 %-d일 %H:%M",
        Language::English => "%-d %B %Y, %H:%M",
    };
    at.as_ref().map_or_else(String::new, |at| at.strftime(format).to_string())
}

fn short_date(at: &Moment, language: Language) -> String {
    let format = match language {
        Language::Korean => "%-m월 %-d일 %H:%M",
        Language::English => "%-d %b %H:%M",
    };
    at.as_ref().map_or_else(String::new, |at| at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::gift::v1::Party;

    fn notice(zone: &str) -> Notice {
        Notice {
            // 2027-02-14 00:00 in Seoul.
            send_at_ms: 1_802_530_800_000,
            price_won: 12_500,
            to: Some(Party { time_zone: zone.to_owned(), ..Party::default() }),
            ..Notice::default()
        }
    }

    #[test]
    fn moments_are_those_of_the_reader() {
        let read = |zone, language| Facts::of_notice(&notice(zone), language).send_at;
        assert_eq!(read("Asia/Seoul", Language::Korean), "2027년 2월 14일 00:00");
        assert_eq!(read("America/New_York", Language::Korean), "2027년 2월 13일 10:00");
        assert_eq!(read("America/New_York", Language::English), "13 February 2027, 10:00");
        let facts = Facts::of_notice(&notice(""), Language::English);
        assert_eq!((facts.send_at_short.as_str(), facts.expires_at.as_str()), ("14 Feb 00:00", ""));
        let never = Notice { send_at_ms: u64::MAX, ..notice("") };
        assert_eq!(Facts::of_notice(&never, Language::Korean).send_at, "");
    }

    #[test]
    fn amounts_have_separators() {
        for (amount, text) in [(0, "0원"), (999, "999원"), (1_000, "1,000원"), (100_000_000, "100,000,000원")] {
            assert_eq!(won(amount, Language::Korean), text);
        }
        assert_eq!(won(u64::MAX, Language::English), "KRW 18,446,744,073,709,551,615");
    }

    #[test]
    fn names_stay_part_of_a_sentence() {
        assert_eq!(name(" \n\u{7}", Language::Korean), "누군가");
        assert_eq!(name("Kim\r\n[은행]\tLee", Language::English), "Kim [은행] Lee");
        assert_eq!(line(&"가".repeat(61), 60).chars().count(), 60);
        assert_eq!(lines(" 안녕\r\n\u{0}하세요\n", 500), "안녕\n하세요");
    }
}
