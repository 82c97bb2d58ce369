//! What is on the pages and in their headers, without a browser.

mod view;

use pages::{
    CodeView, ConfirmView, Failure, Field, FieldError, GiftState, Language, Notice, Page, Problem, TransferView,
};
use view::{EXPIRES_AT, NONCE, NUMBER, TOKEN, arrived, product, with};

fn render(state: GiftState) -> Page {
    pages::gift(&with(state)).unwrap()
}

fn accepted() -> GiftState {
    let code = CodeView { text: NUMBER.into(), digits_only: true };
    GiftState::Accepted { code, expires_at: EXPIRES_AT, can_transfer: true }
}

fn states() -> Vec<(GiftState, u16)> {
    vec![
        (GiftState::NotYet, 200),
        (GiftState::Arrived { expires_at: EXPIRES_AT }, 200),
        (accepted(), 200),
        (GiftState::Used { at: EXPIRES_AT }, 410),
        (GiftState::Expired { at: EXPIRES_AT }, 410),
        (GiftState::Refunded, 410),
        (GiftState::Transferred, 410),
        (GiftState::Cancelled, 410),
    ]
}

fn transfer() -> TransferView {
    TransferView {
        token: TOKEN.into(),
        language: Language::Korean,
        product: product(),
        nonce: NONCE.into(),
        notice: None,
        name: String::new(),
        contact: String::new(),
        errors: Vec::new(),
    }
}

fn confirm() -> ConfirmView {
    ConfirmView {
        token: TOKEN.into(),
        language: Language::Korean,
        product: product(),
        nonce: NONCE.into(),
        name: "이하늘".into(),
        contact: "haneul@example.com".into(),
    }
}

fn all() -> Vec<Page> {
    let mut pages: Vec<Page> = states().into_iter().map(|(state, _)| render(state)).collect();
    pages.push(pages::transfer(&transfer()).unwrap());
    pages.push(pages::confirm_transfer(&confirm()).unwrap());
    for failure in [
        Failure::NotFound,
        Failure::BadRequest,
        Failure::TooManyRequests { retry_after_s: 7 },
        Failure::Unavailable { retry_after_s: 7 },
    ] {
        pages.push(pages::failure(Language::Korean, failure));
    }
    pages
}

/// The part before the body, which is what a messenger reads for its preview.
fn head(page: &Page) -> &str {
    page.body.split_once("</head>").unwrap().0
}

#[test]
fn a_gift_that_is_over_is_gone_and_says_nothing_of_what_it_was() {
    for (state, status) in states() {
        let told = format!("{state:?}");
        let page = render(state);
        assert_eq!(page.status, status, "{told}");
        let shown = matches!(told.split([' ', '{']).next(), Some("Arrived" | "Accepted"));
        for secret in ["케이크", "김민지", "축하해", "images.example"] {
            assert_eq!(page.body.contains(secret), shown, "{told}: {secret}");
        }
        assert_eq!(page.body.contains(NUMBER), told.starts_with("Accepted"), "{told}");
        assert_eq!(page.body.contains(NONCE), told.starts_with("Arrived"), "{told}");
    }
}

#[test]
fn a_sender_without_a_name_is_somebody() {
    for state in [GiftState::Arrived { expires_at: EXPIRES_AT }, accepted()] {
        let gift = pages::GiftView { sender_name: " ".into(), sender_given_name: None, ..with(state) };
        let page = pages::gift(&gift).unwrap();
        assert!(page.body.contains("누군가") && page.body.contains("함께 온 메시지"));
        // Nobody is addressed by an empty name.
        assert!(!page.body.contains("님이") && !page.body.contains("님의"));
    }
}

#[test]
fn every_page_goes_out_with_the_headers_that_guard_it() {
    for page in all() {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("vary", "Accept-Language"),
            ("x-content-type-options", "nosniff"),
            ("x-robots-tag", "noindex, nofollow"),
            ("content-type", "text/html; charset=utf-8"),
            ("content-language", "ko"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(page.header(name), Some(value));
        }
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|have| have == part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        let mut names: Vec<_> = page.headers.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), page.headers.len(), "each once");
        for (name, value) in &page.headers {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value}");
        }
        assert!(page.body.starts_with("<!doctype html>") && page.body.contains(r#"<html lang="ko">"#));
        assert!(!page.body.contains("<script") && !page.body.contains(" style="), "the policy would refuse it");
    }
}

#[test]
fn only_the_host_of_the_picture_is_let_in() {
    let policy = |page: Page| page.header("content-security-policy").unwrap().to_owned();
    assert!(policy(pages::gift(&arrived()).unwrap()).contains("img-src data: https://images.example;"));
    let mut bare = arrived();
    bare.product.image = None;
    assert!(policy(pages::gift(&bare).unwrap()).contains("img-src data:;"));
    assert!(!policy(render(GiftState::Refunded)).contains("images.example"));
}

#[test]
fn what_people_wrote_is_text_and_nothing_else() {
    let hostile = r#""'><script>alert(1)</script>&amp;{{ 7*7 }}{sender}"#;
    let escaped = "&#34;&#39;&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#38;amp;{{ 7*7 }}{sender}";
    let mut gift = arrived();
    gift.product.name = hostile.into();
    gift.product.brand = hostile.into();
    gift.sender_name = hostile.into();
    gift.sender_given_name = Some(hostile.into());
    gift.message = hostile.into();
    for state in [GiftState::Arrived { expires_at: EXPIRES_AT }, accepted()] {
        gift.state = state;
        let page = pages::gift(&gift).unwrap();
        assert!(!page.body.contains("<script") && !page.body.contains(hostile));
        // Title, og:title, og:description; brand, name, message, and the sender twice.
        assert_eq!(page.body.matches(escaped).count(), 8, "{}", page.body);
    }
    let mut form = transfer();
    (form.name, form.contact) = (hostile.into(), hostile.into());
    let page = pages::transfer(&form).unwrap();
    assert_eq!((page.body.matches(escaped).count(), page.body.contains("<script")), (2, false));
    let page = pages::confirm_transfer(&ConfirmView { name: hostile.into(), contact: hostile.into(), ..confirm() });
    assert_eq!(page.unwrap().body.matches(escaped).count(), 4);
}

#[test]
fn hangul_emoji_and_line_breaks_arrive_as_they_were_written() {
    let message = "생일 축하해! 🎂👩‍👩‍👧\n\n다음 줄 🇰🇷\u{202e}";
    let mut gift = arrived();
    gift.message = format!("  {message}\n");
    let page = pages::gift(&gift).unwrap();
    assert!(page.body.contains(&format!("<blockquote dir=\"auto\">{message}</blockquote>")), "{}", page.body);
    gift.message = " \n ".into();
    assert!(!pages::gift(&gift).unwrap().body.contains("<blockquote"), "nothing said, nothing shown");
}

#[test]
fn a_preview_tells_the_senders_given_name_and_the_product_and_no_more() {
    for state in [GiftState::Arrived { expires_at: EXPIRES_AT }, accepted()] {
        let page = render(state);
        let head = head(&page);
        assert!(head.contains(r#"<meta property="og:title" content="민지님이 보낸 선물이 도착했어요">"#), "{head}");
        assert!(
            head.contains(r#"<meta property="og:image" content="https://images.example/cake.jpg?w=600&#38;h=600">"#)
        );
        assert!(head.contains("딸기 케이크"));
        for secret in [NUMBER, &NUMBER.replace(' ', ""), "김민지", "축하해", TOKEN, NONCE] {
            assert!(!head.contains(secret), "{secret}");
        }
    }
    let mut unnamed = arrived();
    unnamed.sender_given_name = None;
    let page = pages::gift(&unnamed).unwrap();
    assert!(head(&page).contains(r#"content="선물이 도착했어요""#) && !head(&page).contains("민지"));
}

#[test]
fn forms_post_to_their_route_with_the_nonce_and_in_the_language_of_the_page() {
    let mut gift = arrived();
    gift.language = Language::English;
    let page = pages::gift(&gift).unwrap();
    assert!(page.body.contains(&format!(r#"method="post" action="/g/{TOKEN}/accept?lang=en""#)));
    assert!(page.body.contains(&format!(r#"name="nonce" value="{NONCE}""#)));
    assert!(page.body.contains(&format!(r#"href="/g/{TOKEN}?lang=ko" lang="ko""#)), "the way to the other language");
    let page = pages::transfer(&transfer()).unwrap();
    assert!(page.body.contains(&format!(r#"method="post" action="/g/{TOKEN}/transfer?lang=ko""#)));
    let page = pages::confirm_transfer(&confirm()).unwrap();
    assert!(page.body.contains(&format!(r#"method="post" action="/g/{TOKEN}/transfer/confirm?lang=ko""#)));
    assert!(page.body.contains(&format!(r#"formaction="/g/{TOKEN}/transfer?lang=ko" name="edit""#)));
    // What is shown once more says why.
    for (notice, text) in [(Notice::Stale, "한 번 더 눌러"), (Notice::Unavailable, "잠시 뒤에")] {
        let page = pages::gift(&pages::GiftView { notice: Some(notice), ..arrived() }).unwrap();
        assert!(page.body.contains(text) && page.body.contains(r#"role="alert""#));
        let page = pages::transfer(&TransferView { notice: Some(notice), ..transfer() }).unwrap();
        assert!(page.body.contains(text));
    }
    let page = pages::see_other(TOKEN, Language::English).unwrap();
    assert_eq!((page.status, page.header("location")), (303, Some(format!("/g/{TOKEN}?lang=en").as_str())));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(pages::see_other("a\r\nb", Language::English).is_err());
}

#[test]
fn passing_on_is_offered_only_while_it_can_be_done() {
    for can_transfer in [true, false] {
        let code = CodeView { text: NUMBER.into(), digits_only: true };
        let page = render(GiftState::Accepted { code, expires_at: EXPIRES_AT, can_transfer });
        assert_eq!(page.body.contains("/transfer?lang="), can_transfer);
    }
}

#[test]
fn what_is_wrong_is_said_beside_its_field_with_what_was_expected() {
    let mut form = transfer();
    form.name = "이".repeat(101);
    form.contact = "열둘".into();
    form.errors = vec![
        FieldError { field: Field::Name, problem: Problem::TooLong { max: 100 } },
        FieldError { field: Field::Contact, problem: Problem::NotAContact },
    ];
    let page = pages::transfer(&form).unwrap();
    assert_eq!(page.status, 422);
    assert!(page.body.contains("<title>다시 확인해 주세요"));
    for text in ["100자까지", "010-1234-5678 같은", r#"value="열둘""#, &form.name] {
        assert!(page.body.contains(text), "{text}");
    }
    assert_eq!(page.body.matches(r#"aria-invalid="true""#).count(), 2);
    assert!(!page.body.contains("hreflang"), "the other language would lose what was typed");
    // Every problem has words in both languages.
    for language in Language::ALL {
        for field in [Field::Name, Field::Contact] {
            for problem in [Problem::Missing, Problem::TooLong { max: 9 }, Problem::NotAContact, Problem::Own] {
                let view = TransferView { language, errors: vec![FieldError { field, problem }], ..transfer() };
                assert_eq!(pages::transfer(&view).unwrap().body.matches(r#"class="error""#).count(), 1);
            }
        }
    }
}

#[test]
fn failures_have_their_status_and_say_when_to_come_back() {
    for language in Language::ALL {
        for (failure, status, retry_after) in [
            (Failure::NotFound, 404, None),
            (Failure::BadRequest, 400, None),
            (Failure::TooManyRequests { retry_after_s: 30 }, 429, Some("30")),
            (Failure::Unavailable { retry_after_s: 5 }, 503, Some("5")),
        ] {
            let page = pages::failure(language, failure);
            assert_eq!((page.status, page.header("retry-after")), (status, retry_after));
            assert!(retry_after.is_none_or(|seconds| page.body.contains(seconds)), "{failure:?}");
            assert_eq!(page.header("content-language"), Some(language.tag()));
        }
    }
}

#[test]
fn the_deadline_is_in_the_recipients_zone_and_in_korean_time() {
    let mut gift = arrived();
    gift.language = Language::English;
    gift.zone = "Europe/Berlin".into();
    let page = pages::gift(&gift).unwrap();
    for text in [
        "Monday, 15 March 2027, 16:00",
        "Europe/Berlin, UTC+1",
        "Monday, 15 March 2027, 24:00",
        "Korean time",
        r#"datetime="2027-03-15T16:00:00+01:00""#,
        "30 days left",
    ] {
        assert!(page.body.contains(text), "{text}");
    }
    gift.zone = "Asia/Seoul".into();
    assert!(!pages::gift(&gift).unwrap().body.contains("UTC"), "one clock, said once");
}

#[test]
fn a_view_that_cannot_be_shown_is_refused_by_field() {
    type Change = fn(&mut pages::GiftView);
    let accepted_with = |text: &str, digits_only| {
        let code = CodeView { text: text.into(), digits_only };
        pages::gift(&with(GiftState::Accepted { code, expires_at: EXPIRES_AT, can_transfer: false }))
    };
    let cases: [(&str, Change); 12] = [
        ("token", |gift| gift.token = "a/b".into()),
        ("token", |gift| gift.token.clear()),
        ("nonce", |gift| gift.nonce = "\"".into()),
        ("zone", |gift| gift.zone = "Asia/Atlantis".into()),
        ("now", |gift| gift.now = i64::MAX),
        ("state.expires_at", |gift| gift.state = GiftState::Arrived { expires_at: i64::MIN }),
        ("state.at", |gift| gift.state = GiftState::Used { at: -1 }),
        ("product.name", |gift| gift.product.name = " ".into()),
        ("product.image", |gift| gift.product.image = Some("http://images.example/a.jpg".into())),
        ("sender_name", |gift| gift.sender_name = "가".repeat(pages::NAME_MAX + 1)),
        ("sender_given_name", |gift| gift.sender_given_name = Some("가".repeat(pages::NAME_MAX + 1))),
        ("message", |gift| gift.message = "가".repeat(pages::MESSAGE_MAX + 1)),
    ];
    for (field, change) in cases {
        let mut gift = arrived();
        change(&mut gift);
        let error = pages::gift(&gift).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.to_string().starts_with(&format!("{field}: expected ")), "{error}");
    }
    let mut full = arrived();
    full.message = "가".repeat(pages::MESSAGE_MAX);
    assert!(pages::gift(&full).is_ok());
    for (text, digits_only) in [("", true), ("12A4", true), ("<svg onload=x>", false)] {
        assert_eq!(accepted_with(text, digits_only).unwrap_err().field, "state.code.text");
    }
    // Whatever passes can be drawn, as wide as it may get.
    for digits_only in [true, false] {
        for length in 4..=pages::CODE_MAX {
            let number = if digits_only { "7" } else { "W" }.repeat(length);
            assert_eq!(accepted_with(&number, digits_only).unwrap().status, 200, "{number}");
        }
    }
}

#[test]
fn a_number_does_not_end_up_in_logs() {
    assert!(!format!("{:?}", with(accepted())).contains(NUMBER));
}
