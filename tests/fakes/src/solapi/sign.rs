//! Signatures of requests, as SOLAPI checks them: good once, and for a quarter of an hour.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use ring::hmac;

use super::{API_KEY, API_SECRET};

/// How far a date may be from now.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);
/// Signatures that are remembered; at more requests than this in half an hour the oldest could be used again.
const SEEN_MAX: usize = 1_000_000;

/// Those that were used.
#[derive(Default)]
pub(super) struct Signatures {
    seen: BTreeSet<[u8; 32]>,
    order: VecDeque<(Timestamp, [u8; 32])>,
}

type Refused = (&'static str, &'static str);

impl Signatures {
    /// Checks the header and remembers its signature.
    pub(super) fn check(&mut self, header: &str, now: Timestamp) -> Result<(), Refused> {
        let part = |name: &str| {
            let parts = header.strip_prefix("HMAC-SHA256 ")?.split(',');
            parts.filter_map(|part| part.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        if part("apiKey") != Some(API_KEY) {
            return Err(("InvalidAPIKey", "유효한 API Key가 아닙니다."));
        }
        let (date, salt) = (part("date").unwrap_or_default(), part("salt").unwrap_or_default());
        let skew = date.parse::<Timestamp>().map(|date| date.duration_since(now).abs());
        if !skew.is_ok_and(|skew| skew <= SKEW_MAX) {
            return Err(("RequestTimeTooSkewed", "시간 값이 서버 시간을 15분 이상 벗어났습니다."));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, API_SECRET.as_bytes());
        let signature = unhex(part("signature").unwrap_or_default())
            .filter(|signature| hmac::verify(&key, format!("{date}{salt}").as_bytes(), signature).is_ok());
        let Some(signature) = signature.filter(|_| (12..=64).contains(&salt.len())) else {
            return Err(("SignatureDoesNotMatch", "생성한 Signature가 일치하지 않습니다."));
        };
        while let Some((at, oldest)) = self.order.front()
            && (now.duration_since(*at) > SKEW_MAX * 2 || self.order.len() == SEEN_MAX)
        {
            self.seen.remove(oldest);
            self.order.pop_front();
        }
        if !self.seen.insert(signature) {
            return Err(("DuplicatedSignature", "15분 안에 동일한 Signature를 사용했습니다."));
        }
        self.order.push_back((now, signature));
        Ok(())
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(key: &str, secret: &str, date: &str, salt: &str) -> String {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&secret, format!("{date}{salt}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("HMAC-SHA256 apiKey={key}, date={date}, salt={salt}, signature={hex}")
    }

    #[test]
    fn a_signature_is_good_once_and_for_a_while() {
        let now: Timestamp = "2027-02-14T00:00:00Z".parse().expect("a moment");
        let mut signatures = Signatures::default();
        let mut code = |header: &str| signatures.check(header, now).err().map_or("", |(code, _)| code);
        let good = header(API_KEY, API_SECRET, "2027-02-14T00:10:00.000Z", "0123456789abcdef");
        assert_eq!(code(&good), "");
        assert_eq!(code(&good), "DuplicatedSignature");
        assert_eq!(code(&header("OTHER", API_SECRET, "2027-02-14T00:00:00Z", "0123456789abcdef")), "InvalidAPIKey");
        let late = header(API_KEY, API_SECRET, "2027-02-14T00:15:01Z", "0123456789abcdef");
        assert_eq!(code(&late), "RequestTimeTooSkewed");
        let wrong = header(API_KEY, "other", "2027-02-14T00:00:00Z", "0123456789abcdef");
        assert_eq!(code(&wrong), "SignatureDoesNotMatch");
        assert_eq!(code(&header(API_KEY, API_SECRET, "2027-02-14T00:00:00Z", "short")), "SignatureDoesNotMatch");
        assert_eq!(code(""), "InvalidAPIKey");
        assert_eq!(code("HMAC-SHA256 apiKey=FAKEAPIKEY, date=x, salt=, signature=ü"), "RequestTimeTooSkewed");
    }
}
