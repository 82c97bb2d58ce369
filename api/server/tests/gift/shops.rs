//! Shops and their terminals: codes of digits are taken from those who prove who they are, and guessing ends at ten an hour.

use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;
use proto::product::v1 as product;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::shop::v1 as shop;
use proto::shop::v1::shop_service_client::ShopServiceClient;
use tonic_types::StatusExt;

use crate::support::{reason, until, within};
use crate::world::{World, wish};

const HALF_A_DAY: i64 = 43_200;
const HOUR: i64 = 3_600;

impl World {
    fn shops(&self) -> ShopServiceClient<tonic::transport::Channel> {
        ShopServiceClient::new(self.one.channel.clone())
    }

    async fn put_shop(&self, id: &str, name: &str) -> shop::Shop {
        let given = shop::Shop { id: id.into(), name: name.into(), version: 0 };
        let request = shop::PutShopRequest { shop: Some(given), ..Default::default() };
        within(self.shops().put_shop(request)).await.expect("put").into_inner().shop.expect("a shop")
    }

    /// Registers a terminal: its secret.
    async fn add_terminal(&self, id: &str) -> String {
        within(self.shops().add_terminal(adding(id))).await.expect("registered").into_inner().secret
    }

    async fn till(&self) -> shop::Terminal {
        let request = shop::GetShopRequest { id: "jongno".into(), ..Default::default() };
        let found = within(self.shops().get_shop(request)).await.expect("there").into_inner();
        found.terminals.into_iter().find(|terminal| terminal.id == "till-1").expect("a terminal")
    }

    /// A gift that was accepted, and its code.
    async fn accepted(&self, id: &str, digits: bool) -> String {
        let product = product::Product {
            id: "tea".into(),
            name: "녹차".into(),
            brand: "별다방".into(),
            price_won: 4_500,
            on_sale: true,
            code_form: product::CodeForm::Digits.into(),
            ..Default::default()
        };
        let request = product::PutProductRequest { product: Some(product), ..Default::default() };
        within(ProductServiceClient::new(self.one.channel.clone()).put_product(request)).await.expect("stored");
        let product_id = if digits { "tea" } else { "coffee" }.to_owned();
        within(self.gifts().reserve(gift::ReserveRequest { product_id, ..wish(id) })).await.expect("reserved");
        self.advance(HALF_A_DAY).await;
        self.until_state(id, GiftState::Sent).await;
        let open = gift::OpenGiftRequest { token: self.token(id), ..Default::default() };
        let nonce = within(self.gifts().open_gift(open)).await.expect("opened").into_inner().nonce;
        let accept = gift::AcceptGiftRequest { token: self.token(id), nonce, ..Default::default() };
        within(self.gifts().accept_gift(accept)).await.expect("accepted").into_inner().code
    }

    async fn refused(&self, request: gift::RedeemGiftRequest) -> (tonic::Code, String) {
        reason(within(self.gifts().redeem_gift(request)).await)
    }
}

fn adding(id: &str) -> shop::AddTerminalRequest {
    shop::AddTerminalRequest { shop_id: "jongno".into(), terminal_id: id.into(), ..Default::default() }
}

fn redeem(code: &str, secret: &str) -> gift::RedeemGiftRequest {
    gift::RedeemGiftRequest {
        code: code.into(),
        shop: "jongno".into(),
        terminal: "till-1".into(),
        terminal_secret: secret.into(),
        ..Default::default()
    }
}

/// A code of digits that leads nowhere.
fn guess(number: u64) -> String {
    domain::gifticon::code(domain::product::CodeForm::Digits, 7, domain::gifticon::Dice(number))
}

const LOCKED: (tonic::Code, &str) = (tonic::Code::ResourceExhausted, "TERMINAL_LOCKED");
const UNKNOWN: (tonic::Code, &str) = (tonic::Code::Unauthenticated, "TERMINAL_NOT_AUTHENTICATED");
const NOWHERE: (tonic::Code, &str) = (tonic::Code::NotFound, "NOT_FOUND");

fn is(found: (tonic::Code, String), expected: (tonic::Code, &str)) {
    assert_eq!((found.0, found.1.as_str()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn shops_and_terminals_are_kept() {
    let world = World::start().await;
    is(reason(world.shops().add_terminal(adding("till-1")).await), NOWHERE);
    assert_eq!(world.put_shop("jongno", "종로점").await.version, 1);
    assert_eq!(world.put_shop("jongno", "종로 본점").await.version, 2);
    world.put_shop("gangnam", "강남점").await;
    let request_id = uuid::Uuid::now_v7().to_string();
    let with_id = shop::AddTerminalRequest { request_id, ..adding("till-1") };
    let first = within(world.shops().add_terminal(with_id.clone())).await.expect("registered").into_inner();
    assert!(first.secret.len() == 32 && first.terminal.is_some_and(|terminal| terminal.added.is_some()));
    let again = within(world.shops().add_terminal(with_id)).await.expect("repeated").into_inner();
    assert_ne!(again.secret, first.secret, "whoever got the first answer may be somebody else");
    assert_eq!(reason(world.shops().add_terminal(adding("till-1")).await).1, "ALREADY_EXISTS");
    is(world.refused(redeem(&guess(1), &first.secret)).await, UNKNOWN);
    is(world.refused(redeem(&guess(1), &again.secret)).await, NOWHERE);

    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = shop::ListShopsRequest { page_size: 1, page_token, ..Default::default() };
        let page = within(world.shops().list_shops(list)).await.expect("listed").into_inner();
        pages.extend(page.shops.into_iter().map(|shop| shop.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    pages.sort();
    assert_eq!(pages, ["gangnam", "jongno"]);

    let revoke =
        shop::RevokeTerminalRequest { shop_id: "jongno".into(), terminal_id: "till-1".into(), ..Default::default() };
    let revoked = within(world.shops().revoke_terminal(revoke.clone())).await.expect("revoked").into_inner();
    assert!(!revoked.replayed && revoked.terminal.is_some_and(|terminal| terminal.revoked.is_some()));
    assert!(within(world.shops().revoke_terminal(revoke)).await.expect("again").into_inner().replayed);
    is(world.refused(redeem(&guess(1), &again.secret)).await, UNKNOWN);

    for (id, name) in [("", "x"), ("a b", "x"), ("a}b", "x"), ("a", "")] {
        let given = shop::Shop { id: id.into(), name: name.into(), version: 0 };
        let request = shop::PutShopRequest { shop: Some(given), ..Default::default() };
        assert_eq!(reason(world.shops().put_shop(request).await).1, "INVALID_FIELD", "{id:?} {name:?}");
    }
    assert_eq!(reason(world.shops().add_terminal(adding("a b")).await).1, "INVALID_FIELD");
    let nowhere = shop::GetShopRequest { id: "busan".into(), ..Default::default() };
    is(reason(world.shops().get_shop(nowhere).await), NOWHERE);
}

/// Red when a code of digits is taken from anybody, or a right code is counted against a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_digits_is_taken_from_a_terminal_only() {
    let world = World::start().await;
    world.put_shop("jongno", "종로점").await;
    let secret = world.add_terminal("till-1").await;
    let code = world.accepted("g", true).await;
    assert!(code.len() == 20 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let anybody =
        gift::RedeemGiftRequest { terminal: String::new(), terminal_secret: String::new(), ..redeem(&code, "") };
    is(world.refused(anybody).await, UNKNOWN);
    is(world.refused(redeem(&code, "guessed")).await, UNKNOWN);
    is(world.refused(gift::RedeemGiftRequest { terminal: "till-2".into(), ..redeem(&code, &secret) }).await, UNKNOWN);
    is(world.refused(gift::RedeemGiftRequest { shop: "gangnam".into(), ..redeem(&code, &secret) }).await, UNKNOWN);
    // A word of the cluster's own is nobody else's to say.
    let made_up = gift::RedeemGiftRequest { counted: "0".repeat(32), ..redeem(&code, &secret) };
    assert_eq!(world.refused(made_up).await.1, "INVALID_FIELD");
    assert_eq!(world.get("g").await.state(), GiftState::Accepted);
    assert_eq!(world.till().await.failures, 1, "a wrong secret is counted");

    let request_id = uuid::Uuid::now_v7().to_string();
    let right = gift::RedeemGiftRequest { request_id, ..redeem(&code, &secret) };
    let used = within(world.gifts().redeem_gift(right.clone())).await.expect("used").into_inner();
    assert_eq!(used.gift.map(|gift| (gift.state(), gift.shop)), Some((GiftState::Used, "jongno".into())));
    assert!(within(world.gifts().redeem_gift(right)).await.expect("repeated").into_inner().replayed);
    for _ in 0..12 {
        assert_eq!(world.refused(redeem(&code, &secret)).await.1, "WRONG_STATE", "a real code is no guess");
    }
    assert_eq!(world.till().await.failures, 1);
}

/// Red when somebody who asks many times at once is answered more often than ten times.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_in_parallel_ends_at_ten() {
    let world = World::start().await;
    world.put_shop("jongno", "종로점").await;
    let secret = world.add_terminal("till-1").await;
    let code = world.accepted("g", true).await;
    let guesses = (0..40).map(|number| {
        let mut gifts = world.gifts();
        let request = redeem(&guess(number), &secret);
        async move { reason(within(gifts.redeem_gift(request)).await).1 }
    });
    let answers = futures::future::join_all(guesses).await;
    let told = |wanted: &str| answers.iter().filter(|answer| *answer == wanted).count();
    assert_eq!((told("NOT_FOUND"), told("TERMINAL_LOCKED")), (10, 30));

    // Not even a right code, until an hour has passed; the refusal says so.
    let status = within(world.gifts().redeem_gift(redeem(&code, &secret))).await.expect_err("locked");
    let left = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("when it ends");
    assert!((3_590..=3_600).contains(&left.as_secs()), "{left:?}");
    is(reason(Err::<(), _>(status)), LOCKED);
    let till = world.till().await;
    assert!(till.failures == 10 && till.locked_until.is_some());
    // Operators are told.
    world.advance(20).await;
    let alerted = until(async || {
        let script = world.script.lock().expect("not poisoned");
        script.locked.first().cloned()
    })
    .await;
    assert_eq!(alerted, ("jongno".to_owned(), "till-1".to_owned()));
    is(world.refused(redeem(&code, &secret)).await, LOCKED);
    let letters = domain::gifticon::code(domain::product::CodeForm::Base32, 7, domain::gifticon::Dice(1));
    is(world.refused(redeem(&letters, &secret)).await, LOCKED);

    world.advance(HOUR).await;
    within(world.gifts().redeem_gift(redeem(&code, &secret))).await.expect("used");
    assert_eq!(world.till().await.failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_unlocks_a_terminal() {
    let world = World::start().await;
    world.put_shop("jongno", "종로점").await;
    let secret = world.add_terminal("till-1").await;
    for number in 0..10 {
        is(world.refused(redeem(&guess(number), &secret)).await, NOWHERE);
    }
    is(world.refused(redeem(&guess(10), &secret)).await, LOCKED);
    let unlock =
        shop::UnlockTerminalRequest { shop_id: "jongno".into(), terminal_id: "till-1".into(), ..Default::default() };
    let unlocked = within(world.shops().unlock_terminal(unlock.clone())).await.expect("unlocked").into_inner();
    assert_eq!(unlocked.terminal.map(|terminal| (terminal.failures, terminal.locked_until)), Some((0, None)));
    assert!(within(world.shops().unlock_terminal(unlock)).await.expect("again").into_inner().replayed);
    is(world.refused(redeem(&guess(10), &secret)).await, NOWHERE);
}

/// A repetition of the same request is not counted twice, and a mistyped code is none.
#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_about_codes_is_not_counted() {
    let world = World::start().await;
    world.put_shop("jongno", "종로점").await;
    let secret = world.add_terminal("till-1").await;
    let request_id = uuid::Uuid::now_v7().to_string();
    for _ in 0..15 {
        let same = gift::RedeemGiftRequest { request_id: request_id.clone(), ..redeem(&guess(1), &secret) };
        is(world.refused(same).await, NOWHERE);
    }
    let mistyped = format!("{}{}", &guess(1)[..19], (guess(1).as_bytes()[19] - b'0' + 1) % 10);
    assert_eq!(world.refused(redeem(&mistyped, &secret)).await.1, "INVALID_FIELD");
    assert_eq!(world.till().await.failures, 1);
}

/// Codes with letters cannot be guessed: a terminal is not needed, and believed only when it proves who it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_may_take_codes_with_letters() {
    let world = World::start().await;
    world.put_shop("jongno", "종로점").await;
    let secret = world.add_terminal("till-1").await;
    let code = world.accepted("g", false).await;
    is(world.refused(redeem(&code, "guessed")).await, UNKNOWN);
    assert_eq!(world.till().await.failures, 1);
    let wrong: Vec<String> = (0..12)
        .map(|number| domain::gifticon::code(domain::product::CodeForm::Base32, 7, domain::gifticon::Dice(number)))
        .collect();
    for code in wrong {
        is(world.refused(redeem(&code, &secret)).await, NOWHERE);
    }
    assert_eq!(world.till().await.failures, 1, "they are not counted");
    for (field, request) in [
        ("terminal_secret", redeem(&code, "")),
        ("terminal_secret", redeem(&code, &"x".repeat(65))),
        ("terminal_secret", gift::RedeemGiftRequest { terminal: String::new(), ..redeem(&code, "x") }),
        ("shop", gift::RedeemGiftRequest { shop: "종로점".into(), ..redeem(&code, &secret) }),
        ("terminal", gift::RedeemGiftRequest { terminal: "a b".into(), ..redeem(&code, &secret) }),
    ] {
        let status = within(world.gifts().redeem_gift(request)).await.expect_err(field);
        let wrong = status.get_details_bad_request().unwrap_or_else(|| panic!("{field}: {status:?}"));
        assert!(wrong.field_violations.iter().any(|one| one.field == field), "{field}: {wrong:?}");
    }
    let used = within(world.gifts().redeem_gift(redeem(&code, &secret))).await.expect("used").into_inner();
    assert_eq!(used.gift.map(|gift| gift.state()), Some(GiftState::Used));
}
