//! A small house of gifts, in memory, that serves every page over real HTTP: for the browser test, and for people who
//! work on how the pages look (`cargo run --release -p bosingak-pages --example serve`).
//!
//! It keeps the rules that whoever mounts the pages has to keep: GET changes nothing, a nonce counts once, 303 after
//! a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};
use axum::response::Response;
use axum::routing::{get, post};
use pages::{
    CodeView, ConfirmView, Failure, Field, FieldError, GiftState, GiftView, Language, Page, Problem, ProductView,
    TransferView, paths,
};

/// 14 February 2027, 00:00:02 in Seoul.
const NOW: i64 = 1_802_530_802_000;
const DAY: i64 = 86_400_000;

/// The numbers that the symbols on the pages have to say.
pub const DIGITS: &str = "2602 1400 0912 3458";
/// One with letters.
pub const LETTERS: &str = "7QK3 M9XA 20BC 5TRW";

/// The gifts, and what was done to them.
#[derive(Clone)]
pub struct House(Arc<Mutex<Rooms>>);

struct Rooms {
    gifts: BTreeMap<&'static str, GiftView>,
    nonces: BTreeSet<String>,
    made: u64,
    changes: Vec<String>,
}

impl House {
    /// One gift in every state.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Rooms { gifts: gifts(), nonces: BTreeSet::new(), made: 0, changes: Vec::new() })))
    }

    /// What POSTs changed so far, in order.
    pub fn changes(&self) -> Vec<String> {
        self.rooms().changes.clone()
    }

    /// Everything that is mounted.
    pub fn router(self) -> Router {
        Router::new()
            .route(paths::GIFT, get(show))
            .route(paths::ACCEPT, post(accept))
            .route(paths::TRANSFER, get(form).post(look))
            .route(paths::CONFIRM, post(transfer))
            .route("/", get(index))
            .route("/changes", get(async |State(house): State<House>| house.changes().join("\n")))
            .with_state(self)
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.lock().unwrap()
    }
}

impl Rooms {
    fn nonce(&mut self) -> String {
        self.made += 1;
        let nonce = format!("nonce-{}", self.made);
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn spend(&mut self, form: &BTreeMap<String, String>) -> bool {
        form.get(paths::NONCE).is_some_and(|nonce| self.nonces.remove(nonce))
    }
}

fn language(query: Option<&str>, headers: &HeaderMap) -> Language {
    let asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(name, _)| name == paths::LANG);
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    pages::negotiate(asked.as_ref().map(|(_, value)| value.as_ref()), header)
}

fn fields(body: &Bytes) -> BTreeMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn respond(page: Page) -> Response {
    let mut response = Response::builder().status(page.status);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(page.body)).unwrap()
}

/// Where everything is, for people.
async fn index(State(house): State<House>) -> axum::response::Html<String> {
    let mut paths: Vec<&str> = house.rooms().gifts.keys().copied().collect();
    paths.extend(["accepted/transfer", "nobody", "busy", "down", "malformed"]);
    let link = |path: &&str| {
        format!("<li>{path}: <a href=/g/{path}?lang=ko>Korean</a>, <a href=/g/{path}?lang=en>English</a></li>")
    };
    axum::response::Html(paths.iter().map(link).collect())
}

async fn show(
    State(house): State<House>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query.as_deref(), &headers);
    let mut rooms = house.rooms();
    let nonce = rooms.nonce();
    let failure = match token.as_str() {
        "busy" => Failure::TooManyRequests { retry_after_s: 30 },
        "down" => Failure::Unavailable { retry_after_s: 5 },
        "malformed" => Failure::BadRequest,
        _ => Failure::NotFound,
    };
    let Some(gift) = rooms.gifts.get(token.as_str()) else { return respond(pages::failure(language, failure)) };
    respond(pages::gift(&GiftView { language, nonce, ..gift.clone() }).unwrap())
}

async fn accept(
    State(house): State<House>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let language = language(query.as_deref(), &headers);
    let mut rooms = house.rooms();
    let fresh = rooms.spend(&fields(&body));
    let nonce = rooms.nonce();
    let Some(gift) = rooms.gifts.get_mut(token.as_str()) else {
        return respond(pages::failure(language, Failure::NotFound));
    };
    if !fresh {
        let notice = Some(pages::Notice::Stale);
        return respond(pages::gift(&GiftView { language, nonce, notice, ..gift.clone() }).unwrap());
    }
    if let GiftState::Arrived { expires_at } = gift.state {
        let code = CodeView { text: DIGITS.into(), digits_only: true };
        gift.state = GiftState::Accepted { code, expires_at, can_transfer: true };
        rooms.changes.push(format!("accepted {token}"));
    }
    respond(pages::see_other(&token, language).unwrap())
}

async fn form(
    State(house): State<House>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query.as_deref(), &headers);
    let mut rooms = house.rooms();
    respond(write(&mut rooms, &token, language, &BTreeMap::new(), Vec::new()))
}

/// The form with what was typed.
fn write(
    rooms: &mut Rooms,
    token: &str,
    language: Language,
    typed: &BTreeMap<String, String>,
    errors: Vec<FieldError>,
) -> Page {
    let nonce = rooms.nonce();
    let Some(gift) = rooms.gifts.get(token) else { return pages::failure(language, Failure::NotFound) };
    let text = |name: &str| typed.get(name).cloned().unwrap_or_default();
    let view = TransferView {
        token: token.into(),
        language,
        product: gift.product.clone(),
        nonce,
        notice: None,
        name: text(paths::NAME),
        contact: text(paths::CONTACT),
        errors,
    };
    pages::transfer(&view).unwrap()
}

async fn look(
    State(house): State<House>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let language = language(query.as_deref(), &headers);
    let typed = fields(&body);
    let mut rooms = house.rooms();
    let Some(gift) = rooms.gifts.get(token.as_str()) else {
        return respond(pages::failure(language, Failure::NotFound));
    };
    let product = gift.product.clone();
    if typed.contains_key(paths::EDIT) {
        return respond(write(&mut rooms, &token, language, &typed, Vec::new()));
    }
    let (name, contact) = (typed.get(paths::NAME).unwrap().trim(), typed.get(paths::CONTACT).unwrap().trim());
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(FieldError { field: Field::Name, problem: Problem::Missing });
    }
    if contact.is_empty() {
        errors.push(FieldError { field: Field::Contact, problem: Problem::Missing });
    } else if !contact.contains('@') && contact.bytes().filter(u8::is_ascii_digit).count() < 9 {
        errors.push(FieldError { field: Field::Contact, problem: Problem::NotAContact });
    }
    if !errors.is_empty() {
        return respond(write(&mut rooms, &token, language, &typed, errors));
    }
    let (name, contact, nonce) = (name.into(), contact.into(), rooms.nonce());
    respond(pages::confirm_transfer(&ConfirmView { token, language, product, nonce, name, contact }).unwrap())
}

async fn transfer(
    State(house): State<House>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let language = language(query.as_deref(), &headers);
    let typed = fields(&body);
    let mut rooms = house.rooms();
    if rooms.spend(&typed)
        && let Some(gift) = rooms.gifts.get_mut(token.as_str())
    {
        gift.state = GiftState::Transferred;
        rooms.changes.push(format!("transferred {token} to {}", typed[paths::NAME]));
    }
    respond(pages::see_other(&token, language).unwrap())
}

fn gifts() -> BTreeMap<&'static str, GiftView> {
    let expires_at = NOW + 30 * DAY - 2_000;
    let digits = CodeView { text: DIGITS.into(), digits_only: true };
    let letters = CodeView { text: LETTERS.into(), digits_only: false };
    let accepted = |code, can_transfer| GiftState::Accepted { code, expires_at, can_transfer };
    let states = [
        ("arrived", GiftState::Arrived { expires_at }),
        ("bare", GiftState::Arrived { expires_at: NOW + DAY }),
        ("hostile", GiftState::Arrived { expires_at: NOW + DAY / 2 }),
        ("long", accepted(letters, true)),
        ("accepted", accepted(digits, true)),
        ("to-pass-on", GiftState::Arrived { expires_at }),
        ("used", GiftState::Used { at: NOW - 3 * DAY + 44_100_000 }),
        ("expired", GiftState::Expired { at: NOW - 2_000 }),
        ("refunded", GiftState::Refunded),
        ("transferred", GiftState::Transferred),
        ("cancelled", GiftState::Cancelled),
        ("not-yet", GiftState::NotYet),
    ];
    states.into_iter().map(|(token, state)| (token, one(token, state))).collect()
}

fn one(token: &'static str, state: GiftState) -> GiftView {
    let mut gift = GiftView {
        token: token.into(),
        language: Language::Korean,
        zone: "Asia/Seoul".into(),
        now: NOW,
        product: ProductView {
            name: "딸기 생크림 케이크와 아메리카노 두 잔".into(),
            brand: "종로 베이커리".into(),
            image: Some("https://images.example/cake.svg".into()),
            price_won: Some(36_500),
        },
        sender_name: "김민지".into(),
        sender_given_name: Some("민지".into()),
        message: "서연아, 생일 축하해! 🎂\n올해도 네 옆에 있을 수 있어서 참 좋아.\n\n보신각 종소리 들으면서 먹어 💛"
            .into(),
        state,
        nonce: "-".into(),
        notice: None,
    };
    match token {
        "bare" => {
            gift.product =
                ProductView { name: "커피 한 잔".into(), brand: String::new(), image: None, price_won: None };
            gift.sender_given_name = None;
            gift.message.clear();
        }
        "hostile" => {
            let script = "\"'><script>document.title='owned'</script><img src=x onerror=document.title='owned'>";
            gift.product.name = script.into();
            gift.product.brand = script.into();
            gift.sender_name = script.into();
            gift.sender_given_name = Some(script.into());
            gift.message =
                format!("{script}\n</blockquote></style><style>*{{display:none}}</style>{{sender}}{{{{ 7*7 }}}}");
        }
        "long" => {
            gift.zone = "America/Argentina/Buenos_Aires".into();
            gift.product.name = "아주긴상품이름이띄어쓰기없이이어지는경우에도화면밖으로나가지않아야합니다 Donaudampfschifffahrtsgesellschaft".into();
            gift.product.brand = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch".into();
            gift.sender_name = "Wolfeschlegelsteinhausenbergerdorff-Wilhelmina".into();
            gift.message = "가".repeat(120) + "\n" + &"w".repeat(379);
        }
        _ => {}
    }
    gift
}
