//! What the pages say. One file per language; `{name}` stands for what [`fill`] puts there.

mod en;
mod ko;

use crate::Language;

/// Every text has a name, and every language every text: the compiler sees to it.
macro_rules! texts {
    ($($(#[$doc:meta])* $key:ident,)+) => {
        /// The texts of one language.
        pub(crate) struct Texts { $($(#[$doc])* pub $key: &'static str,)+ }

        impl Texts {
            /// All of them by name.
            #[cfg(test)]
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($key), self.$key),)+]
            }
        }
    };
}

texts! {
    /// The language's own name, and Open Graph's name for it.
    language,
    locale,

    /// Titles and previews.
    title_gift,
    title_gift_from,
    title_ended,
    title_error,
    preview_gift,
    preview_ended,

    /// A gift that waits.
    arrived,
    arrived_from,
    arrived_unnamed,
    message_from,
    message_unnamed,
    accept,
    accept_hint,
    accept_by,

    /// A gift that can be used.
    accepted,
    accepted_from,
    accepted_unnamed,
    code,
    bars,
    qr,
    code_caution,
    use_by,
    worth,
    won,
    use_heading,
    use_show,
    use_scan,
    use_once,
    refund_hint,
    transfer_link,
    transfer_once,

    /// How long there is.
    days_left,
    one_day_left,
    last_day,

    /// Passing it on.
    transfer,
    transfer_intro,
    name,
    name_hint,
    contact,
    contact_hint,
    errors,
    name_missing,
    contact_missing,
    too_long,
    not_a_contact,
    own_contact,
    own_name,
    next,
    back,
    confirm,
    confirm_caution,
    confirm_send,
    confirm_change,

    /// The same page again.
    stale,
    unavailable_now,

    /// A gift that is no more, or not yet.
    not_yet,
    not_yet_text,
    used,
    used_text,
    used_at,
    expired,
    expired_text,
    expired_at,
    refunded,
    refunded_text,
    transferred,
    transferred_text,
    cancelled,
    cancelled_text,

    /// No gift to show.
    not_found,
    not_found_text,
    bad_request,
    bad_request_text,
    too_many,
    too_many_text,
    unavailable,
    unavailable_text,

    /// At the foot of every page with a gift.
    link_caution,
}

impl Texts {
    /// Those of a language.
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::Korean => &ko::TEXTS,
            Language::English => &en::TEXTS,
        }
    }
}

/// A text with `{name}` replaced by what `values` say. What is put in is not looked at again: a sender may well be
/// called `{message}`.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = placeholder(rest) {
        filled.push_str(before);
        if let Some((_, value)) = values.iter().find(|(have, _)| *have == name) {
            filled.push_str(value);
        }
        rest = after;
    }
    filled + rest
}

/// The first placeholder, with what is before and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(text: &str) -> Vec<&str> {
        let mut names = Vec::new();
        let mut rest = text;
        while let Some((_, name, after)) = placeholder(rest) {
            names.push(name);
            rest = after;
        }
        names.sort_unstable();
        names
    }

    #[test]
    fn languages_say_the_same_things_with_the_same_placeholders() {
        let korean = Texts::of(Language::Korean).all();
        let english = Texts::of(Language::English).all();
        assert_eq!(korean.len(), english.len());
        for ((key, korean), (other, english)) in korean.into_iter().zip(english) {
            assert_eq!(key, other);
            assert_eq!(placeholders(korean), placeholders(english), "{key}");
            for text in [korean, english] {
                assert!(!text.trim().is_empty() && text.trim() == text, "{key}: {text:?}");
                assert_eq!(text.matches('{').count(), text.matches('}').count(), "{key}: {text}");
            }
        }
    }

    /// A text that was copied and not translated: Hangul in the English file, or none in the Korean one.
    #[test]
    fn texts_are_in_their_language() {
        let hangul = |text: &str| text.chars().any(|character| ('가'..='힣').contains(&character));
        for (key, text) in Texts::of(Language::English).all() {
            assert!(!hangul(text), "{key}: {text}");
        }
        for (key, text) in Texts::of(Language::Korean).all() {
            assert!(hangul(text) || key == "locale", "{key}: {text}");
        }
    }

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "B")]), "{b} and B");
        assert_eq!(fill("no braces", &[("a", "A")]), "no braces");
        assert_eq!(fill("{a}{a}", &[("a", "A")]), "AA");
        assert_eq!(fill("open { end", &[]), "open { end");
    }
}
