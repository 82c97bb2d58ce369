//! `/g/{token}`: the recipient's page of a gift, for people. What it looks like is in the crate `pages`; this is what is true, and
//! what a form does.
//!
//! GET and HEAD change nothing: messengers fetch links to draw previews of them. What changes something is a POST with the nonce of
//! the page. Links are secrets, so nothing here logs a path. Errors are pages too, and so is what is asked too often.

mod client;
mod forms;
mod limit;
mod view;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pages::{Failure, Language, Page, paths};
use proto::gift::v1;
use tonic::transport::server::TcpConnectInfo;

use super::Problem;
use crate::error::Error;
use crate::gift::take_apart;
use crate::services::{Call, Services};
use crate::status::Reason;
use limit::Limit;

/// Largest form in bytes: a name and an address, every character escaped, and much room.
const FORM_BYTES_MAX: usize = 16 << 10;
/// Longest last part of a link, in characters: a namespace and a token.
const LINK_CHARS_MAX: usize = 128;
/// After how many seconds it is worth another try where nobody knows better.
const RETRY_AFTER_S: u32 = 5;

/// What the handlers share; cheap to clone.
#[derive(Clone)]
struct Pages {
    services: Services,
    limit: Option<Arc<Limit>>,
    began: Instant,
    warned: Arc<AtomicBool>,
}

/// The pages, without a fallback.
pub(super) fn router(services: Services) -> Router {
    let limit = services.node.config().gift_page_rate.map(|rate: NonZeroU32| Arc::new(Limit::new(rate)));
    let pages = Pages { services, limit, began: Instant::now(), warned: Arc::default() };
    Router::new()
        .route(paths::GIFT, get(show))
        .route(paths::ACCEPT, post(accept))
        .route(paths::TRANSFER, get(forms::empty).post(forms::look))
        .route(paths::CONFIRM, post(forms::confirm))
        .method_not_allowed_fallback(no_such_verb)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(pages.clone(), bounded))
        .with_state(pages)
}

/// Refuses a client that asks too often.
async fn bounded(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    // There is always one on a TCP port.
    if let (Some(limit), Some(connection)) = (&pages.limit, connection) {
        let (headers, trusted) = (request.headers(), &pages.services.node.config().trusted_proxies);
        let client = client::address(connection.ip(), headers, trusted);
        if let Err(wait) = limit.take(client, pages.began.elapsed()) {
            let stranger = client::is_forwarded_by_a_stranger(connection.ip(), headers, trusted);
            if stranger && !pages.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %client,
                    "pages are asked for too often by somebody who sends X-Forwarded-For and is not in listen.trusted_proxies: if it \
                     is a proxy, all who come through it are counted as one"
                );
            }
            let retry_after_s = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            return failure(language(request.uri(), headers), Failure::TooManyRequests { retry_after_s });
        }
    }
    next.run(request).await
}

/// Somebody who asks for a page about a link.
struct Visit {
    /// The last part of the link, of a shape that can be in a page.
    link: String,
    language: Language,
}

impl Visit {
    fn namespace(&self) -> String {
        take_apart(&self.link).0.to_owned()
    }

    fn token(&self) -> String {
        take_apart(&self.link).1.to_owned()
    }

    fn fails(&self, why: Failure) -> Response {
        failure(self.language, why)
    }

    /// To the gift as it is.
    fn goes_to_the_gift(&self) -> Response {
        self.answer(pages::see_other(&self.link, self.language))
    }

    /// A page that was rendered. What cannot be shown was stored by somebody who checked less than the page does: a fault of ours.
    fn answer(&self, page: Result<Page, pages::Error>) -> Response {
        match page {
            Ok(page) => respond(page),
            Err(error) => {
                tracing::error!(%error, "a page of a gift cannot be shown");
                self.fails(Failure::Unavailable { retry_after_s: 60 })
            }
        }
    }

    /// Why there is nothing to show.
    fn problem(&self, problem: &Problem) -> Response {
        let is = |reason: Reason| problem.reason() == reason.text();
        if is(Reason::NotFound) || is(Reason::InvalidField) || is(Reason::NotConfigured) {
            return self.fails(Failure::NotFound);
        }
        if problem.retry_after_s().is_none() {
            tracing::error!(reason = problem.reason(), detail = problem.detail(), "a page of a gift cannot be made");
        }
        self.fails(Failure::Unavailable { retry_after_s: problem.retry_after_s().unwrap_or(RETRY_AFTER_S) })
    }
}

impl FromRequestParts<Pages> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Pages) -> Result<Self, Response> {
        let language = language(&parts.uri, &parts.headers);
        let link = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let fits = |link: &String| {
            let plain = link.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            plain && (1..=LINK_CHARS_MAX).contains(&link.len())
        };
        match link.ok().map(|axum::extract::Path(link)| link).filter(fits) {
            Some(link) => Ok(Visit { link, language }),
            None => Err(failure(language, Failure::NotFound)),
        }
    }
}

/// By `?lang=`, else by what the browser asks for.
fn language(uri: &Uri, headers: &HeaderMap) -> Language {
    let query = uri.query().unwrap_or_default();
    let asked = serde_html_form::from_str::<Vec<(String, String)>>(query).unwrap_or_default();
    let asked = asked.into_iter().find(|(name, _)| name == paths::LANG).map(|(_, value)| value);
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    pages::negotiate(asked.as_deref(), header)
}

fn respond(page: Page) -> Response {
    let mut response = Response::builder().status(page.status);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    // Names and values are ASCII, as the crate promises and tests.
    response.body(Body::from(page.body)).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn failure(language: Language, why: Failure) -> Response {
    respond(pages::failure(language, why))
}

/// Such as a reload of a page that a POST answered, from its address: friendly, and still 405 with `Allow`.
async fn no_such_verb(uri: Uri, headers: HeaderMap) -> Response {
    let page = Page { status: 405, ..pages::failure(language(&uri, &headers), Failure::BadRequest) };
    respond(page)
}

impl Pages {
    /// A call of the same functions that gRPC has, with the time that calls have.
    async fn call<T, R>(
        &self,
        method: &'static str,
        message: T,
        handle: impl AsyncFnOnce(T, Call) -> Result<R, Error>,
    ) -> Result<R, Problem> {
        let call = Call::within(self.services.node.config().call_timeout);
        self.services.answer_call(method, message, call, handle).await.map_err(Problem::from)
    }

    async fn open(&self, visit: &Visit) -> Result<v1::OpenGiftResponse, Problem> {
        let message = v1::OpenGiftRequest { namespace: visit.namespace(), token: visit.token() };
        self.call("OpenGift", message, async |message, call| self.services.open_gift(message, call).await).await
    }
}

/// What a POST that was refused comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The page was of an earlier holder, or of nobody: it is shown again.
    Stale,
    /// The gift is not what it was, or nobody knows whether it is: it is looked at again.
    Elsewhere,
    /// Nothing was done, and it may be in a moment.
    NotNow,
    /// There is no gift to show.
    Nothing,
}

impl Refused {
    fn of(problem: &Problem) -> Refused {
        let is = |reason: Reason| problem.reason() == reason.text();
        if is(Reason::StaleLink) {
            return if problem.about_what("what") == Some("nonce") { Refused::Stale } else { Refused::Elsewhere };
        }
        if is(Reason::WrongState) || is(Reason::TooLate) || is(Reason::OutcomeUnknown) {
            return Refused::Elsewhere;
        }
        // Whatever else may be repeated was certainly not done.
        if problem.retry_after_s().is_some() { Refused::NotNow } else { Refused::Nothing }
    }
}

/// The gift, whatever its state.
async fn show(State(pages): State<Pages>, visit: Visit) -> Response {
    show_with(&pages, &visit, None).await
}

async fn show_with(pages: &Pages, visit: &Visit, notice: Option<pages::Notice>) -> Response {
    match pages.open(visit).await {
        Ok(opened) => {
            let now = pages.services.node.clock().wall();
            visit.answer(pages::gift(&view::gift(visit, opened, now, notice)))
        }
        Err(problem) => visit.problem(&problem),
    }
}

/// The recipient takes it.
async fn accept(State(pages): State<Pages>, visit: Visit, form: forms::Form) -> Response {
    let Some(nonce) = form.nonce else { return visit.fails(Failure::BadRequest) };
    let message = v1::AcceptGiftRequest { namespace: visit.namespace(), token: visit.token(), nonce };
    let call = async |message, call| pages.services.accept_gift(message, call).await;
    let Err(problem) = pages.call("AcceptGift", message, call).await else { return visit.goes_to_the_gift() };
    match Refused::of(&problem) {
        Refused::Stale => show_with(&pages, &visit, Some(pages::Notice::Stale)).await,
        Refused::NotNow => show_with(&pages, &visit, Some(pages::Notice::Unavailable)).await,
        Refused::Elsewhere => visit.goes_to_the_gift(),
        Refused::Nothing => visit.problem(&problem),
    }
}
