//! The recipient's page where it is mounted: what it shows, what a form does, and that looking does nothing. In a browser:
//! `browser.rs`.

use std::num::NonZeroU32;

use proto::gift::v1::GiftState;
use reqwest::{Method, StatusCode};

use crate::server_support::{One, until, within};
use crate::support::Http;
use crate::world::{World, on, wish};

const FORM: &str = "application/x-www-form-urlencoded";

/// A person with a browser that follows no redirect by itself.
struct Person {
    client: reqwest::Client,
    base: String,
}

/// A page.
#[derive(Debug)]
struct Page {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Of the first form.
    fn nonce(&self) -> String {
        let rest = self.body.split_once("name=\"nonce\" value=\"").expect("a form").1;
        rest.split_once('"').expect("its end").0.to_owned()
    }

    fn shows(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

impl Person {
    async fn of(one: &One) -> Person {
        // For the provider of ciphers, which any client needs.
        let Http { base, .. } = Http::of(one).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Person { client, base }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let response = within(request.send()).await.expect("answered");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let page = Page { status, headers, body: within(response.text()).await.expect("whole") };
        assert_eq!(page.header("cache-control"), "no-store", "{page:?}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{page:?}");
        assert_eq!(page.header("x-robots-tag"), "noindex, nofollow", "{page:?}");
        if status != 303 {
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{page:?}");
            assert_eq!(page.header("x-frame-options"), "DENY", "{page:?}");
            assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{page:?}");
        }
        page
    }

    async fn get(&self, path: &str) -> Page {
        self.send(self.client.get(format!("{}/g/{path}", self.base))).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        // As a browser sends it from a page without a referrer.
        let body = form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
        let request = self.client.post(format!("{}/g/{path}", self.base)).header("content-type", FORM).body(body);
        self.send(request.header("origin", "null")).await
    }

    /// As a browser does after a POST.
    async fn follow(&self, page: Page) -> Page {
        assert_eq!(page.status, 303, "{page:?}");
        let location = page.header("location").strip_prefix("/g/").expect("a gift").to_owned();
        self.get(&location).await
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn sent(world: &World, id: &str) -> String {
    within(world.gifts().reserve(wish(id))).await.expect("reserved");
    world.until_midnight_less(0).await;
    world.until_state(id, GiftState::Sent).await;
    world.token(id)
}

/// Turns red when a GET or HEAD changes something, when a form does without its nonce, or when a page tells what it must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_gift_is_opened_accepted_passed_on_and_used() {
    let world = World::start().await;
    let person = Person::of(&world.one).await;
    let old = sent(&world, "g-1").await;
    let version = world.get("g-1").await.version;

    // Messengers look at it, in every way and more than once.
    for path in [old.clone(), format!("{old}/transfer"), format!("{old}/accept"), format!("{old}/transfer/confirm")] {
        for method in [Method::GET, Method::HEAD] {
            let page = person.send(person.client.request(method.clone(), format!("{}/g/{path}", person.base))).await;
            let is_form = path.ends_with("accept") || path.ends_with("confirm");
            assert_eq!(page.status, if is_form { 405 } else { 200 }, "{method} {path}");
            assert_eq!(page.header("allow"), if is_form { "POST" } else { "" }, "{method} {path}");
            assert_eq!(page.body.is_empty(), method == Method::HEAD, "{method} {path}");
        }
    }
    assert_eq!(world.get("g-1").await.version, version, "looking changes nothing");

    let arrived = person.get(&old).await;
    assert!(arrived.shows("<html lang=\"ko\">") && arrived.shows("김보신님이 마음을 담아 보냈어요"), "{arrived:?}");
    assert!(arrived.shows("밸런타인데이 축하해 🎁") && arrived.shows("아메리카노 Tall"), "{arrived:?}");
    assert!(!arrived.shows("11112222") && !arrived.shows("33334444"), "nobody's number: {arrived:?}");
    assert!(!arrived.shows("1111-2222") && !arrived.shows("3333-4444") && !arrived.shows("class=\"code\""));
    let english = person.get(&format!("{old}?lang=en")).await;
    assert!(english.shows("<html lang=\"en\">") && english.shows("With love from 김보신"), "{english:?}");
    let request = person.client.get(format!("{}/g/{old}", person.base)).header("accept-language", "en-GB,ko;q=0.5");
    assert!(person.send(request).await.shows("<html lang=\"en\">"));

    // No form of ours, and one that is too old.
    assert_eq!(person.post(&format!("{old}/accept"), &[]).await.status, 400);
    let stale = person.post(&format!("{old}/accept"), &[("nonce", "made up")]).await;
    assert_eq!((stale.status, stale.shows("role=\"alert\"")), (200, true), "{stale:?}");
    let json = person.client.post(format!("{}/g/{old}/accept", person.base)).header("content-type", "application/json");
    assert_eq!(person.send(json.body(format!("nonce={}", arrived.nonce()))).await.status, 400);
    let large = person.post(&format!("{old}/accept"), &[("nonce", &"x".repeat(20_000))]).await;
    assert_eq!(large.status, 400);
    assert_eq!(world.get("g-1").await.version, version, "nothing of all that changed anything");

    let accepted = person.post(&format!("{old}/accept?lang=en"), &[("nonce", &arrived.nonce())]).await;
    assert_eq!(accepted.header("location"), format!("/g/{old}?lang=en"));
    let shown = person.follow(accepted).await;
    assert!(shown.shows("class=\"code\"") && shown.shows("<svg class=\"qr\""), "{shown:?}");
    assert_eq!(world.get("g-1").await.state(), GiftState::Accepted);
    // The other page that was open: pressed again, it shows the same.
    assert_eq!(person.post(&format!("{old}/accept"), &[("nonce", &arrived.nonce())]).await.status, 303);

    // Passed on, with some mistakes.
    let form = person.get(&format!("{old}/transfer?lang=en")).await;
    let nonce = form.nonce();
    let typed = |name, contact| [("nonce", nonce.as_str()), ("name", name), ("contact", contact)];
    let path = format!("{old}/transfer?lang=en");
    let wrong = person.post(&path, &typed("박 <b>", "twelve")).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert!(wrong.shows("id=\"contact-error-1\"") && wrong.shows("value=\"twelve\""), "what was typed is kept");
    assert!(!wrong.shows("<b>"), "and escaped");
    let old_form = person.post(&path, &[("nonce", "spent"), ("name", "박"), ("contact", "010-5555-6666")]).await;
    assert_eq!((old_form.status, old_form.shows("role=\"alert\"")), (200, true), "{old_form:?}");
    let confirm = person.post(&path, &typed("박광화", "010-5555-6666")).await;
    assert_eq!((confirm.status, confirm.shows("Send it to this person?")), (200, true), "{confirm:?}");
    let edit = [&typed("박광화", "010-5555-6666")[..], &[("edit", "1")]].concat();
    assert!(person.post(&path, &edit).await.shows("value=\"010-5555-6666\""));
    let path = format!("{old}/transfer/confirm?lang=en");
    let own = person.post(&path, &typed("이종각", "010-3333-4444")).await;
    assert_eq!((own.status, own.shows("This is where the gift is now")), (422, true), "{own:?}");
    assert!(!world.get("g-1").await.transferred, "nothing was sent before it was confirmed");

    let passed_on = person.post(&path, &typed("박광화", "010-5555-6666")).await;
    let gone = person.follow(passed_on).await;
    assert_eq!((gone.status, gone.shows("You gave this gift to someone else")), (410, true), "{gone:?}");
    assert!(!gone.shows("아메리카노") && !gone.shows("김보신"), "it tells nothing of the gift: {gone:?}");
    // Pressed twice; and a page of before.
    assert_eq!(person.post(&path, &typed("박광화", "010-5555-6666")).await.status, 303);
    assert_eq!(person.post(&format!("{old}/accept"), &[("nonce", &arrived.nonce())]).await.status, 303);
    assert_eq!(person.get(&format!("{old}/transfer")).await.status, 303);
    let new_owner = world.get("g-1").await.recipient.expect("somebody");
    assert_eq!((new_owner.name.as_str(), new_owner.language.as_str()), ("박광화", "en"));

    let new = until(async || Some(world.token("g-1")).filter(|token| *token != old)).await;
    let shown = person.get(&new).await;
    let code = shown
        .body
        .split_once("role=\"group\" translate=\"no\">")
        .expect("a code")
        .1
        .split_once('<')
        .expect("its end")
        .0;
    assert!(!shown.shows("/transfer"), "once: {shown:?}");
    let redeem =
        proto::gift::v1::RedeemGiftRequest { code: code.into(), shop: "종로점".into(), ..Default::default() };
    within(world.gifts().redeem_gift(redeem)).await.expect("used");
    let used = person.get(&new).await;
    assert_eq!((used.status, used.shows("잘 사용한 선물이에요")), (410, true), "{used:?}");
    assert!(used.shows("2027년 2월 14일"), "when: {used:?}");
    assert!(!used.shows(code));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_gone_with_a_friendly_text() {
    let world = World::start().await;
    let person = Person::of(&world.one).await;
    let token = sent(&world, "g-2").await;
    let nonce = person.get(&token).await.nonce();
    world.advance(31 * 86_400 + 10).await;
    world.until_state("g-2", GiftState::Refunded).await;
    let gone = person.get(&format!("{token}?lang=en")).await;
    assert_eq!((gone.status, gone.shows("This gift was refunded")), (410, true), "{gone:?}");
    let late = person.post(&format!("{token}/accept"), &[("nonce", &nonce)]).await;
    assert_eq!(person.follow(late).await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_link_is_not_found() {
    let world = World::start().await;
    let person = Person::of(&world.one).await;
    for path in
        ["x", "AAAAAAAAAAAAAAAAAAAAAAAA", "shop_AAAAAAAAAAAAAAAAAAAAAAAA", "%ff", "%3Cscript%3E", &"x".repeat(129)]
    {
        let page = person.get(path).await;
        assert_eq!((page.status, page.shows("<script")), (404, false), "{path}");
    }
    assert_eq!(person.post("x/accept", &[("nonce", "n")]).await.status, 404);
    assert_eq!(person.post("x/transfer", &[("nonce", "n"), ("name", "n"), ("contact", "c")]).await.status, 404);
    // A gift that is not sent yet has no link; the request says nothing of others.
    let far = proto::gift::v1::ReserveRequest { send: Some(on("2027-03-14")), ..wish("g-3") };
    within(world.gifts().reserve(far)).await.expect("reserved");
    let one = One::start_with(|config| config.canary_interval = None).await;
    let without_gifts = Person::of(&one).await;
    assert_eq!(without_gifts.get("AAAAAAAAAAAAAAAAAAAAAAAA").await.status, 404);
    one.stop().await;
}

/// Turns red when there is no limit, when it is for all together, or when what a stranger says of himself is believed.
#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_ask_without_end() {
    let start = async |trusted: Option<&str>| {
        let networks = trusted.into_iter().filter_map(server::config::networks::parse).collect();
        let one = One::start_with(|config| {
            config.canary_interval = None;
            config.gift_page_rate = NonZeroU32::new(1);
            config.trusted_proxies = networks;
        })
        .await;
        let person = Person::of(&one).await;
        (one, person)
    };
    let ask = async |person: &Person, client: &str| {
        let request = person.client.get(format!("{}/g/x?lang=en", person.base)).header("x-forwarded-for", client);
        person.send(request).await
    };
    let (one, person) = start(None).await;
    let mut limited = None;
    // Ten at once, and as many more as this takes seconds.
    for number in 0..100_000 {
        let page = ask(&person, &format!("198.51.100.{}", number % 250)).await;
        if page.status == 429 {
            assert!(number >= 10);
            limited = Some(page);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert_eq!((limited.header("retry-after"), limited.shows("One moment, please")), ("1", true), "{limited:?}");
    // What is no page has its own limits.
    let response = within(person.client.get(format!("{}/v1/cluster", person.base)).send()).await.expect("answered");
    assert_eq!(response.status(), StatusCode::OK);
    one.stop().await;

    let (one, person) = start(Some("127.0.0.0/8")).await;
    for number in 0..100 {
        assert_eq!(ask(&person, &format!("198.51.100.{number}")).await.status, 404, "each is another one");
    }
    one.stop().await;
}
