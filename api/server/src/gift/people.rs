//! People: names, addresses, zones and languages as callers write them, in the one form in which they are stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::gift::Party;
use proto::gift::v1;

use crate::local_time::Zones;
use crate::validate::Violations;

/// Where people are who do not say so.
const ZONE: &str = "Asia/Seoul";
/// What they speak.
const LANGUAGE: &str = "ko";

/// Who has which Kakao id: the id on the left, what messages are addressed to on the right. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Directory(Option<Arc<BTreeMap<String, String>>>);

impl Directory {
    /// From a TOML file of `id = "address"` lines; without a path nobody has a Kakao id.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no such file.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Directory> {
        let Some(path) = path else { return Ok(Directory(None)) };
        let told = |error: String| anyhow::anyhow!("gift.kakao_directory = {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        let entries = toml::from_str(&text).map_err(|error| told(error.to_string()))?;
        Ok(Directory(Some(Arc::new(entries))))
    }

    fn resolve(&self, id: &str) -> Result<String, String> {
        let Some(entries) = &self.0 else {
            return Err("expected no Kakao id: this cluster has no directory of them (gift.kakao_directory)".to_owned());
        };
        entries.get(id).cloned().ok_or_else(|| "expected a Kakao id that the directory knows".to_owned())
    }
}

/// Checks a person and writes it in its one form.
pub(crate) fn party(v: &mut Violations, field: &str, given: v1::Party, zones: &Zones, directory: &Directory) -> Party {
    let path = |name: &str| format!("{field}.{name}");
    let phone = match phone(&given.phone) {
        Some(phone) => phone,
        None => {
            let expected = "expected E.164 such as +821012345678, or a number of Korea such as 010-1234-5678";
            v.push(&path("phone"), expected);
            String::new()
        }
    };
    let kakao = match given.kakao.as_str() {
        "" => String::new(),
        id => directory.resolve(id).unwrap_or_else(|expected| {
            v.push(&path("kakao"), expected);
            String::new()
        }),
    };
    v.require(is_email(&given.email), &path("email"), || "expected an address such as kim@example.com, or none".into());
    let zone = if given.time_zone.is_empty() { ZONE } else { &given.time_zone };
    let zone = match zones.zone(zone) {
        Ok((name, _)) => name,
        Err(error) => {
            v.push(&path("time_zone"), error.to_string());
            String::new()
        }
    };
    let language = match given.language.as_str() {
        "" => LANGUAGE,
        "ko" | "en" => &given.language,
        _ => {
            v.push(&path("language"), "expected ko or en");
            ""
        }
    };
    let language = language.to_owned();
    let party = Party {
        id: given.id,
        name: given.name,
        phone,
        kakao,
        email: given.email,
        push_token: given.push_token,
        zone,
        language,
    };
    if let Err(refusal) = domain::gift::check_party(field, &party) {
        v.push(&refusal.field, format!("expected {}", refusal.expected));
    }
    party
}

/// A phone number in E.164; empty stays empty. Without a country it is one of Korea.
///
/// E.164 (ITU-T): at most 15 digits behind the plus, of which the first is not 0.
fn phone(given: &str) -> Option<String> {
    if given.is_empty() {
        return Some(String::new());
    }
    if !given.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '.' | '(' | ')')) {
        return None;
    }
    let digits: String = given.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
    let international = match digits.strip_prefix('+') {
        // +82 010… is written by many and means +82 10….
        Some(digits) => match digits.strip_prefix("820") {
            Some(rest) => format!("82{rest}"),
            None => digits.to_owned(),
        },
        None => {
            let national = digits.strip_prefix('0').filter(|rest| !rest.starts_with('0'))?;
            // 9 digits with the zero in Seoul, 10 or 11 elsewhere and of mobile phones.
            (8..=10).contains(&national.len()).then(|| format!("82{national}"))?
        }
    };
    let fits = (8..=15).contains(&international.len()) && !international.starts_with('0');
    (fits && international.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("+{international}"))
}

/// Whether it looks like an address that can be written to; none is fine. Whether it can is seen when it is written to.
fn is_email(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let plain =
        text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';' | '"'));
    plain && (1..=64).contains(&local.len()) && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
}

/// How somebody can be reached, as one line in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// In E.164.
    Phone(String),
    /// As it was typed.
    Email(String),
}

/// Reads a phone number or an e-mail address; `None` when it is neither.
pub(crate) fn contact(typed: &str) -> Option<Contact> {
    if typed.contains('@') {
        return is_email(typed).then(|| Contact::Email(typed.to_owned()));
    }
    phone(typed).filter(|phone| !phone.is_empty()).map(Contact::Phone)
}

/// As the protocol shows it.
pub(crate) fn shown(party: Party) -> v1::Party {
    v1::Party {
        id: party.id,
        name: party.name,
        phone: party.phone,
        kakao: party.kakao,
        email: party.email,
        push_token: party.push_token,
        time_zone: party.zone,
        language: party.language,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_have_one_form() {
        for (given, expected) in [
            ("010-1234-5678", "+821012345678"),
            ("01012345678", "+821012345678"),
            ("+82 10 1234 5678", "+821012345678"),
            ("+82 010-1234-5678", "+821012345678"),
            ("(02) 312-3456", "+8223123456"),
            ("+1 (212) 555-0100", "+12125550100"),
            ("", ""),
        ] {
            assert_eq!(phone(given).as_deref(), Some(expected), "{given}");
        }
        for given in
            ["1234", "00 82 10 1234 5678", "+0123456789", "+1234567890123456", "010-1234-567a", "１０１", "++8210", "+"]
        {
            assert_eq!(phone(given), None, "{given}");
        }
    }

    #[test]
    fn addresses_that_nobody_can_write_to_are_refused() {
        for good in ["", "kim@example.com", "a.b+c@mail.example.co.kr", "김@예시.한국"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["kim", "@example.com", "kim@", "kim@example", "a b@example.com", "<a@example.com>", "a@.com", "a@b.\n"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn one_line_is_a_phone_number_or_an_address() {
        assert_eq!(contact("010-5555-6666"), Some(Contact::Phone("+821055556666".into())));
        assert_eq!(contact("kim@example.com"), Some(Contact::Email("kim@example.com".into())));
        for neither in ["", "12", "kim", "@", "010-1234-5678@", "+"] {
            assert_eq!(contact(neither), None, "{neither}");
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let given = v1::Party {
            name: "가".repeat(61),
            phone: "12".into(),
            kakao: "ryan".into(),
            email: "x".into(),
            time_zone: "KST".into(),
            language: "fr".into(),
            ..v1::Party::default()
        };
        let mut v = Violations::new();
        party(&mut v, "recipient", given, &Zones::bundled(), &Directory::default());
        let error = v.finish(()).expect_err("refused").to_string();
        for field in ["name", "phone", "kakao", "email", "time_zone", "language"] {
            assert!(error.contains(&format!("recipient.{field}")), "{field}: {error}");
        }
        assert!(error.contains("Asia/Seoul"), "{error}");
    }

    #[test]
    fn a_directory_resolves_what_it_knows() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "ryan = \"kakao-uid-1\"\n").expect("written");
        let directory = Directory::open(Some(file.path())).expect("a directory");
        assert_eq!(directory.resolve("ryan").as_deref(), Ok("kakao-uid-1"));
        assert!(directory.resolve("apeach").is_err());
        std::fs::write(file.path(), "ryan = 7").expect("written");
        assert!(Directory::open(Some(file.path())).expect_err("no text").to_string().contains("gift.kakao_directory"));
    }
}
