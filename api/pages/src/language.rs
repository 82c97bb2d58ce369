//! Which language a page is in.

use std::fmt;

/// A language there are texts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Korean, which is also what everybody gets who asks for something there is not.
    #[default]
    Korean,
    /// English.
    English,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Korean, Self::English];

    /// The primary subtag of BCP 47: `ko` or `en`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Korean => "ko",
            Self::English => "en",
        }
    }

    /// The language of a BCP 47 tag such as `en-GB`, by its primary subtag; `None` for one there are no texts in.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|language| primary.eq_ignore_ascii_case(language.tag()))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// No browser sends as many; what comes after these is not read.
const RANGES_MAX: usize = 32;

/// The language of an answer: `query` (the value of `?lang=`) if there are texts in it, else the one that
/// `Accept-Language` wants most, else Korean.
///
/// Of two that are wanted equally the one named first wins. `*` stands for the languages not named, `q=0` rules one
/// out (RFC 9110, section 12.5.4). A range whose quality cannot be read is passed over.
pub fn negotiate(query: Option<&str>, accept_language: Option<&str>) -> Language {
    if let Some(language) = query.and_then(Language::from_tag) {
        return language;
    }
    let ranges: Vec<(&str, u16)> =
        accept_language.unwrap_or_default().split(',').take(RANGES_MAX).filter_map(range).collect();
    let named = |language: Language| {
        let matching = ranges.iter().enumerate().filter(|(_, (tag, _))| Language::from_tag(tag) == Some(language));
        matching
            .map(|(place, (_, quality))| (*quality, place))
            .max_by_key(|(quality, place)| (*quality, -(*place as i64)))
    };
    let any =
        ranges.iter().enumerate().find(|(_, (tag, _))| *tag == "*").map(|(place, (_, quality))| (*quality, place));
    let wanted = Language::ALL.into_iter().filter_map(|language| {
        let (quality, place) = named(language).or(any)?;
        (quality > 0).then_some((language, quality, place))
    });
    // Of equals `min_by_key` keeps the first, which for `*` alone is Korean.
    let best = wanted.min_by_key(|(_, quality, place)| (u16::MAX - quality, *place));
    best.map_or(Language::Korean, |(language, ..)| language)
}

/// A language range and its quality in thousandths.
fn range(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| !tag.is_empty())?;
    let mut quality = 1_000;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("q") {
            quality = thousandths(value.trim())?;
        }
    }
    Some((tag, quality))
}

/// `0`, `0.5`, `1.000`: a digit, and at most three after the point, up to 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (value <= 1_000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_comes_first_then_the_header_by_quality_then_korean() {
        use Language::{English, Korean};
        for (query, header, expected) in [
            (None, None, Korean),
            (Some("en"), None, English),
            (Some("EN-gb"), Some("ko"), English),
            (Some("ko"), Some("en"), Korean),
            // What there are no texts in is as if it had not been said.
            (Some("fr"), Some("en"), English),
            (Some(""), Some("en"), English),
            (Some("\"><script>"), None, Korean),
            (None, Some("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5"), English),
            (None, Some("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7"), Korean),
            (None, Some("en-US,en;q=0.9,ko;q=0.8"), English),
            (None, Some("ko;q=0.8, en;q=0.81"), English),
            (None, Some("en;q=0.5, ko"), Korean),
            // Equally wanted: the first.
            (None, Some("en, ko"), English),
            (None, Some("ko, en"), Korean),
            (None, Some("fr, de;q=0.8"), Korean),
            (None, Some("*"), Korean),
            (None, Some("ko;q=0, *"), English),
            (None, Some("en;q=0, *;q=0.1"), Korean),
            (None, Some("ko;q=0, en;q=0"), Korean),
            (None, Some("*;q=0.9, en;q=0.2"), Korean),
            // Quality that cannot be read: passed over, and never the best.
            (None, Some("en;q=2, ko;q=0.1"), Korean),
            (None, Some("en;q=x"), Korean),
            (None, Some("en;q=0.1234"), Korean),
            (None, Some(",,;;==, en ;q= 1"), English),
            (None, Some("english"), Korean),
            (None, Some("enm"), Korean),
        ] {
            assert_eq!(negotiate(query, header), expected, "{query:?} {header:?}");
        }
    }

    #[test]
    fn a_long_header_is_read_to_a_bound() {
        let header = format!("{}en", "fr,".repeat(RANGES_MAX));
        assert_eq!(negotiate(None, Some(&header)), Language::Korean);
    }
}
