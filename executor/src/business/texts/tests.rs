use std::collections::BTreeMap;

use proto::gift::v1::{BeginSendResponse, Party};
use proto::notification::v1::Notice;
use proto::product::v1::Product;

use super::*;

const CHANNELS: [Channel; 5] = [Channel::Kakao, Channel::Sms, Channel::Email, Channel::Push, Channel::Operator];
const LANGUAGES: [Language; 2] = [Language::Korean, Language::English];
/// 2027-02-14 00:00 and 2027-03-16 00:00 in Seoul.
const SEND_AT_MS: u64 = 1_802_530_800_000;
const EXPIRES_AT_MS: u64 = 1_805_122_800_000;

/// Everything there is to know about somebody, of which no text may say more than the name.
fn party(name: &str) -> Party {
    Party {
        id: "person-7421".into(),
        name: name.into(),
        phone: "+821098765432".into(),
        kakao: "kakao-7421".into(),
        email: "private@example.com".into(),
        push_token: "token-7421".into(),
        time_zone: String::new(),
        language: String::new(),
    }
}

fn notice(filler: &str) -> Notice {
    let name = |chars: usize| filler.chars().cycle().take(chars).collect::<String>();
    Notice {
        gift: "gift-1".into(),
        to: Some(party(&name(60))),
        product: name(100),
        brand: name(60),
        price_won: 100_000_000,
        sender_name: name(60),
        recipient_name: name(60),
        send_at_ms: SEND_AT_MS,
        expires_at_ms: EXPIRES_AT_MS,
        reason: "internal: SOLAPI 3104".into(),
        shop: "gangnam-1".into(),
        terminal: "till-2".into(),
        until_ms: SEND_AT_MS,
        ..Notice::default()
    }
}

fn each(mut check: impl FnMut(Subject, Language, Channel)) {
    for subject in Subject::ALL {
        for language in LANGUAGES {
            for channel in CHANNELS {
                check(subject, language, channel);
            }
        }
    }
}

fn euc_kr_bytes(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// Red when a placeholder is left or a fact is empty that was there.
#[test]
fn nothing_is_left_to_fill_in() {
    each(|subject, language, channel| {
        let facts = Facts::of_notice(&notice("김보신"), language);
        let words = words(subject, &facts, language, channel);
        let all = format!("{}\n{}", words.title, words.body);
        for sign in ["{", "}", "#{", "None", "()", "Some(", "  ", "\u{0}"] {
            assert!(!all.contains(sign), "{sign:?} in {subject:?} {language:?} {channel:?}: {all}");
        }
        assert!((1..=200).contains(&words.title.chars().count()) && !words.title.contains('\n'));
        assert!((1..=2_000).contains(&words.body.chars().count()), "{subject:?}");
        assert_eq!(words.label.is_empty(), !subject.has_link(), "{subject:?}");
        assert!(words.label.chars().count() <= 14, "{}", words.label);
    });
}

/// Red when an address, an id or an inner error is put into a text for people.
#[test]
fn no_text_says_more_of_a_person_than_the_name() {
    each(|subject, language, channel| {
        let facts = Facts::of_notice(&notice("김보신"), language);
        let words = words(subject, &facts, language, channel);
        let all = format!("{}\n{}", words.title, words.body);
        for secret in ["98765432", "7421", "private@", "Seoul"] {
            assert!(!all.contains(secret), "{secret} in {subject:?}: {all}");
        }
        let inner = all.contains("SOLAPI") || all.contains("gift-1");
        assert!(!inner || subject == Subject::Attention, "{subject:?}: {all}");
        let named = all.contains("김보신");
        let for_operators = matches!(subject, Subject::Attention | Subject::TerminalLocked);
        assert!(!named || !for_operators, "operators need no names: {all}");
        let shop = all.contains("gangnam-1") || all.contains("till-2");
        assert!(!shop || subject == Subject::TerminalLocked, "{subject:?}: {all}");
    });
}

/// Red when a text grows or names are not shortened.
#[test]
fn text_messages_are_short() {
    for filler in ["가", "김보신각종", "Wq"] {
        each(|subject, language, channel| {
            if channel != Channel::Sms {
                return;
            }
            let facts = Facts::of_notice(&notice(filler), language);
            let words = words(subject, &facts, language, channel);
            let bytes = euc_kr_bytes(&words.body);
            assert!(bytes <= 90, "{bytes} bytes, {subject:?} {language:?}: {}", words.body);
        });
    }
}

#[test]
fn each_says_what_it_is_about() {
    for language in LANGUAGES {
        let facts = Facts::of_notice(&notice("김보신"), language);
        let say = |subject, channel| words(subject, &facts, language, channel).body;
        for channel in [Channel::Kakao, Channel::Email, Channel::Push] {
            let reserved = say(Subject::Reserved, channel);
            let (price, at) = match language {
                Language::Korean => ("100,000,000원", "2027년 2월 14일 00:00"),
                Language::English => ("KRW 100,000,000", "14 February 2027, 00:00"),
            };
            assert!(reserved.contains(price) && reserved.contains(at), "{reserved}");
            let until = match language {
                Language::Korean => "2027년 3월 16일 00:00까지",
                Language::English => "16 March 2027, 00:00",
            };
            assert!(say(Subject::ExpiresSoon, channel).contains(until), "{}", say(Subject::ExpiresSoon, channel));
        }
        assert!(say(Subject::Attention, Channel::Operator).contains("internal: SOLAPI 3104"));
        let locked = say(Subject::TerminalLocked, Channel::Operator);
        let until = if language == Language::Korean { "2월 14일 00:00까지" } else { "14 Feb 00:00" };
        assert!(locked.contains("gangnam-1") && locked.contains("till-2") && locked.contains(until), "{locked}");
        // No two of them are the same.
        let bodies: std::collections::BTreeSet<_> =
            Subject::ALL.iter().map(|subject| say(*subject, Channel::Email)).collect();
        assert_eq!(bodies.len(), Subject::ALL.len());
    }
}

#[test]
fn the_gift_carries_the_senders_words() {
    let turn = BeginSendResponse {
        sender_name: "박선물".into(),
        message: "생일 축하해 🎂\n항상 고마워".into(),
        recipient: Some(Party { time_zone: "America/New_York".into(), ..party("이받음") }),
        product: Some(Product { name: "아메리카노".into(), brand: "보신 커피".into(), ..Product::default() }),
        expires_at: Some(prost_types::Timestamp { seconds: 1_805_122_800, nanos: 0 }),
        ..BeginSendResponse::default()
    };
    let facts = Facts::of_turn("gift-1", &turn, Language::Korean);
    let text = words(Subject::Gift, &facts, Language::Korean, Channel::Email);
    assert_eq!(text.title, "박선물님이 보낸 선물이 도착했어요");
    assert_eq!(
        text.body,
        "이받음님, 박선물님이 선물을 보냈어요.\n\n“생일 축하해 🎂\n항상 고마워”\n\n상품: 보신 커피 아메리카노\n사용 기한: 2027년 3월 15일 11:00까지"
    );
    let short = words(Subject::Gift, &facts, Language::Korean, Channel::Sms);
    assert_eq!(short.body, "[보신각] 박선물님의 선물 아메리카노. 3월 15일 11:00까지");
}

#[test]
fn templates_are_filled_by_the_names_of_their_gaps() {
    let variables = [("보낸사람", "sender"), ("상품", "product"), ("내용", "message")];
    let template = TemplateConfig {
        id: "KA01".into(),
        variables: variables.map(|(gap, field)| (gap.to_owned(), field.to_owned())).into(),
    };
    let templates =
        Templates::new().with(Subject::Received, Language::Korean, template.clone()).expect("fields there are");
    let facts = Facts { sender: "김".into(), product: "커피".into(), ..Facts::default() };
    let filled = templates.fill(Subject::Received, Language::Korean, &facts).expect("a template");
    let expected = [("보낸사람", "김"), ("상품", "커피"), ("내용", "-")];
    assert_eq!(filled.variables, expected.map(|(gap, value)| (gap.to_owned(), value.to_owned())).into());
    assert_eq!(templates.fill(Subject::Received, Language::English, &facts), None);
    assert_eq!(templates.fill(Subject::Sent, Language::Korean, &facts), None);

    let wrong = TemplateConfig { variables: BTreeMap::from([("코드".into(), "code".into())]), ..template };
    let error = Templates::new().with(Subject::Gift, Language::Korean, wrong).expect_err("no such field");
    assert!(error.starts_with("variables.코드: one of sender, ") && error.ends_with("not \"code\""), "{error}");
    for field in TEMPLATE_FIELDS {
        assert!(Facts::default().field(field).is_some(), "{field}");
    }
}
