//! Switches that make a provider slow, wrong or gone. Which calls are hit is counted, never drawn: a run is the same every time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The longest a switch makes anybody wait.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of a request that are read before it is left without an answer.
const BODY_BYTES_MAX: usize = 2 << 20;
/// Shares are kept as whole millionths.
const MILLION: u64 = 1_000_000;

/// What a provider does to the calls that are hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    /// What it should.
    #[default]
    Ok,
    /// What it should, and then it takes its time to say so.
    Slow {
        /// Milliseconds between having done it and the answer.
        ms: u64,
    },
    /// Nothing, and answers with an error.
    Fail(Failure),
    /// Nothing, and never answers. The connection stays.
    Timeout,
    /// What it should, and then it resets the connection instead of answering.
    ResetAfterAccept,
    /// Nothing: the port of its own is closed. Where all providers share a port, the connection is reset.
    Refuse,
}

/// An error to answer with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// 400..=599.
    pub status: u16,
    /// The provider's error code.
    pub code: String,
    /// For a human.
    pub message: String,
    /// Seconds in a Retry-After header, when there is to be one.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// An error with this status and code.
    pub fn new(status: u16, code: &str) -> Self {
        Failure { status, code: code.to_owned(), message: "switched to fail".to_owned(), retry_after: None }
    }

    /// The same, with a Retry-After header.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The answer, with this body.
    pub fn response(&self, body: impl IntoResponse) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}

/// Which calls are hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All of them.
    #[default]
    All,
    /// This many millionths of them, evenly: at 500,000 every second one.
    Millionths(u64),
    /// As many as this, counted down; then none.
    Next(u64),
}

/// A switch as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The provider's name.
    pub provider: String,
    /// What it does.
    #[serde(flatten)]
    pub mode: Mode,
    /// To which calls: one kind, such as `confirm`, or all when absent.
    pub call: Option<String>,
    /// To how many of them.
    pub reach: Reach,
}

impl Switch {
    /// Does this to all calls of a provider.
    pub fn new(provider: &str, mode: Mode) -> Self {
        Switch { provider: provider.to_owned(), mode, call: None, reach: Reach::All }
    }

    /// To these only.
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// To calls of this kind only.
    pub fn call(mut self, call: &str) -> Self {
        self.call = Some(call.to_owned());
        self
    }
}

/// A switch as JSON, for `POST /fake/switches`:
/// `{"provider":"toss","mode":"fail","status":429,"code":"TOO_MANY_REQUESTS","retry_after":3,"call":"confirm","next":2}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The provider's name.
    pub provider: String,
    /// `ok`, `slow`, `fail`, `timeout`, `reset_after_accept` or `refuse`.
    pub mode: String,
    /// With `slow`: 1..=3,600,000 milliseconds.
    pub ms: Option<u64>,
    /// With `fail`: 400..=599.
    pub status: Option<u16>,
    /// With `fail`: the provider's error code.
    pub code: Option<String>,
    /// With `fail`: for a human.
    pub message: Option<String>,
    /// With `fail`: seconds in a Retry-After header.
    pub retry_after: Option<u64>,
    /// Which kind of call; all when absent.
    pub call: Option<String>,
    /// Which share of the calls, 0..=1; all when absent. Not with `next`, nor with `refuse`.
    pub share: Option<f64>,
    /// How many calls from now. Not with `share`, nor with `refuse`.
    pub next: Option<u64>,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Error {
    /// Which field.
    pub field: &'static str,
    /// What was expected.
    pub message: String,
}

fn wrong<T>(field: &'static str, message: impl Into<String>) -> Result<T, Error> {
    Err(Error { field, message: message.into() })
}

impl Setting {
    /// The switch it describes.
    ///
    /// # Errors
    ///
    /// Which field is wrong, missing, or of no use with this mode.
    pub fn into_switch(self) -> Result<Switch, Error> {
        let given = [
            ("ms", self.ms.is_some(), "slow"),
            ("status", self.status.is_some(), "fail"),
            ("code", self.code.is_some(), "fail"),
            ("message", self.message.is_some(), "fail"),
            ("retry_after", self.retry_after.is_some(), "fail"),
        ];
        for (field, is_given, mode) in given {
            if is_given && self.mode != mode {
                return wrong(field, format!("only with mode {mode}, and the mode is {:?}", self.mode));
            }
        }
        let mode = match self.mode.as_str() {
            "ok" => Mode::Ok,
            "slow" => match self.ms {
                Some(ms @ 1..=3_600_000) => Mode::Slow { ms },
                other => {
                    return wrong("ms", format!("1..=3600000 milliseconds expected with mode slow, not {other:?}"));
                }
            },
            "fail" => {
                let Some(status @ 400..=599) = self.status else {
                    return wrong("status", format!("400..=599 expected with mode fail, not {:?}", self.status));
                };
                let Some(code) = self.code else { return wrong("code", "expected with mode fail") };
                let message = self.message.unwrap_or_else(|| "switched to fail".to_owned());
                Mode::Fail(Failure { status, code, message, retry_after: self.retry_after })
            }
            "timeout" => Mode::Timeout,
            "reset_after_accept" => Mode::ResetAfterAccept,
            "refuse" => Mode::Refuse,
            other => {
                return wrong("mode", format!("ok, slow, fail, timeout, reset_after_accept or refuse, not {other:?}"));
            }
        };
        let reach = match (self.share, self.next) {
            (None, None) => Reach::All,
            (None, Some(calls)) => Reach::Next(calls),
            (Some(share), None) if (0.0..=1.0).contains(&share) => {
                Reach::Millionths((share * MILLION as f64).round() as u64)
            }
            (Some(share), None) => return wrong("share", format!("0..=1 expected, not {share}")),
            (Some(_), Some(_)) => return wrong("share", "either share or next, not both"),
        };
        Ok(Switch { provider: self.provider, mode, call: self.call, reach })
    }
}

/// Where a switch is, and what it has met.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// As it was set; of [`Reach::Next`], what is left.
    #[serde(flatten)]
    pub switch: Switch,
    /// Calls it applied to since it was set.
    pub seen: u64,
    /// How many of them were hit.
    pub hit: u64,
}

/// The switches of all providers. Clones are the same switches.
#[derive(Clone)]
pub struct Switches(Arc<BTreeMap<&'static str, One>>);

struct One {
    status: Mutex<Status>,
    /// Whether the provider's own port is to be open.
    wanted: watch::Sender<bool>,
    /// Whether it is.
    actual: watch::Sender<bool>,
}

impl One {
    fn status(&self) -> MutexGuard<'_, Status> {
        // Nothing between lock and unlock leaves it half done.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switches {
    pub(crate) fn new(providers: impl IntoIterator<Item = &'static str>) -> Self {
        let one = |provider| One {
            status: Mutex::new(Status { switch: Switch::new(provider, Mode::Ok), seen: 0, hit: 0 }),
            wanted: watch::Sender::new(true),
            actual: watch::Sender::new(true),
        };
        Switches(Arc::new(providers.into_iter().map(|provider| (provider, one(provider))).collect()))
    }

    /// Sets the switch of one provider, in the place of what it was set to before. Returns when that holds for every call from now
    /// on; for [`Mode::Refuse`], when the provider's own port is closed.
    ///
    /// # Errors
    ///
    /// When there is no such provider, or only a part of the calls is to be refused: a closed port refuses everybody.
    pub async fn set(&self, switch: Switch) -> Result<(), Error> {
        let Some(one) = self.0.get(switch.provider.as_str()) else {
            let known: Vec<_> = self.0.keys().collect();
            return wrong("provider", format!("one of {known:?} expected, not {:?}", switch.provider));
        };
        let open = switch.mode != Mode::Refuse;
        if !open && (switch.reach != Reach::All || switch.call.is_some()) {
            return wrong("mode", "refuse takes neither share, next nor call: a closed port refuses everybody");
        }
        let mut actual = one.actual.subscribe();
        *one.status() = Status { switch, seen: 0, hit: 0 };
        one.wanted.send_replace(open);
        // The sender lives in `self`: this does not fail.
        let _ = actual.wait_for(|actual| *actual == open).await;
        Ok(())
    }

    /// Has a provider do what it should again.
    ///
    /// # Errors
    ///
    /// When there is no such provider.
    pub async fn reset(&self, provider: &str) -> Result<(), Error> {
        self.set(Switch::new(provider, Mode::Ok)).await
    }

    /// Where they all are, by name.
    pub fn list(&self) -> Vec<Status> {
        self.0.values().map(|one| one.status().clone()).collect()
    }

    /// What happens to this call. Counts it.
    ///
    /// A provider without HTTP asks here itself; one of an unknown name does what it should.
    pub fn decide(&self, provider: &str, call: &str) -> Mode {
        let Some(one) = self.0.get(provider) else { return Mode::Ok };
        let mut status = one.status();
        if status.switch.call.as_deref().is_some_and(|only| only != call) {
            return Mode::Ok;
        }
        let before = status.seen;
        status.seen += 1;
        let is_hit = match &mut status.switch.reach {
            Reach::All => true,
            Reach::Next(0) => false,
            Reach::Next(left) => {
                *left -= 1;
                true
            }
            // The calls at which the whole part of (calls × share) grows.
            Reach::Millionths(share) => {
                let due = |calls: u64| u128::from(calls) * u128::from(*share) / u128::from(MILLION);
                due(before + 1) > due(before)
            }
        };
        if !is_hit {
            return Mode::Ok;
        }
        status.hit += 1;
        status.switch.mode.clone()
    }

    /// The end at a provider's own port.
    pub(crate) fn hatch(&self, provider: &str) -> Hatch {
        match self.0.get(provider) {
            Some(one) => Hatch { wanted: one.wanted.subscribe(), actual: one.actual.clone() },
            None => Hatch::always_open(),
        }
    }
}

/// What a port has to know of a switch.
pub(crate) struct Hatch {
    /// Whether it is to be open.
    pub(crate) wanted: watch::Receiver<bool>,
    /// Told when it is.
    pub(crate) actual: watch::Sender<bool>,
}

impl Hatch {
    /// Of a port no switch is about.
    pub(crate) fn always_open() -> Self {
        Hatch { wanted: watch::Sender::new(true).subscribe(), actual: watch::Sender::new(true) }
    }
}

/// In the extensions of a request whose answer will be late by this much: until then the request is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause(pub(crate) Duration);

/// In the extensions of a response that is not to be sent: the connection is reset instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HangUp;

impl Mode {
    /// Does it to a call.
    pub(crate) async fn carry_out(self, failure: fn(&Failure) -> Response, request: Request, next: Next) -> Response {
        match self {
            Mode::Ok => next.run(request).await,
            Mode::Slow { ms } => {
                let pause = Duration::from_millis(ms).min(WAIT_MAX);
                let response = whole(request, next, Some(Pause(pause))).await;
                tokio::time::sleep(pause).await;
                response
            }
            Mode::Fail(error) => failure(&error),
            Mode::Timeout => {
                // Read first: a caller that gives up is noticed only then.
                let _ = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
                tokio::time::sleep(WAIT_MAX).await;
                hang_up()
            }
            Mode::ResetAfterAccept => {
                whole(request, next, None).await;
                hang_up()
            }
            Mode::Refuse => hang_up(),
        }
    }
}

/// Carries the request out in a task of its own: what was accepted is done, even when the caller does not wait for it.
async fn whole(request: Request, next: Next, pause: Option<Pause>) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return hang_up() };
    if let Some(pause) = pause {
        parts.extensions.insert(pause);
    }
    let request = Request::from_parts(parts, Body::from(body));
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn hang_up() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(HangUp);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Result<Switch, Error> {
        serde_json::from_str::<Setting>(text).expect("JSON of a setting").into_switch()
    }

    fn hits(switches: &Switches, calls: usize) -> Vec<bool> {
        (0..calls).map(|_| switches.decide("toss", "confirm") != Mode::Ok).collect()
    }

    #[test]
    fn settings_are_read_and_refused_by_field() {
        let fail =
            setting(r#"{"provider":"toss","mode":"fail","status":429,"code":"TOO_MANY","retry_after":3,"next":2}"#);
        let failure =
            Failure { status: 429, code: "TOO_MANY".into(), message: "switched to fail".into(), retry_after: Some(3) };
        assert_eq!(fail, Ok(Switch::new("toss", Mode::Fail(failure)).reach(Reach::Next(2))));
        let slow = setting(r#"{"provider":"toss","mode":"slow","ms":5,"share":0.25,"call":"query"}"#);
        let expected = Switch::new("toss", Mode::Slow { ms: 5 }).reach(Reach::Millionths(250_000)).call("query");
        assert_eq!(slow, Ok(expected));
        for (text, field) in [
            (r#"{"provider":"toss","mode":"sleepy"}"#, "mode"),
            (r#"{"provider":"toss","mode":"slow"}"#, "ms"),
            (r#"{"provider":"toss","mode":"slow","ms":0}"#, "ms"),
            (r#"{"provider":"toss","mode":"ok","ms":5}"#, "ms"),
            (r#"{"provider":"toss","mode":"fail","status":200,"code":"X"}"#, "status"),
            (r#"{"provider":"toss","mode":"fail","status":400}"#, "code"),
            (r#"{"provider":"toss","mode":"timeout","share":1.5}"#, "share"),
            (r#"{"provider":"toss","mode":"timeout","share":0.5,"next":1}"#, "share"),
        ] {
            assert_eq!(setting(text).expect_err(text).field, field, "{text}");
        }
        let unknown = serde_json::from_str::<Setting>(r#"{"provider":"toss","mode":"ok","shaer":1}"#);
        assert!(unknown.expect_err("an unknown field").to_string().contains("shaer"));
    }

    #[tokio::test]
    async fn what_is_hit_is_counted() {
        let switches = Switches::new(["toss"]);
        assert_eq!(hits(&switches, 2), [false, false]);
        switches.set(Switch::new("toss", Mode::Timeout).reach(Reach::Next(2))).await.expect("a switch");
        assert_eq!(hits(&switches, 4), [true, true, false, false]);
        switches.set(Switch::new("toss", Mode::Timeout).reach(Reach::Millionths(250_000))).await.expect("a switch");
        let quarter = [false, false, false, true];
        assert_eq!(hits(&switches, 8), [quarter, quarter].concat());
        let status = &switches.list()[0];
        assert_eq!((status.seen, status.hit), (8, 2));
    }

    #[tokio::test]
    async fn other_calls_are_neither_hit_nor_counted() {
        let switches = Switches::new(["toss"]);
        let switch = Switch::new("toss", Mode::Timeout).reach(Reach::Next(1)).call("confirm");
        switches.set(switch).await.expect("a switch");
        assert_eq!(switches.decide("toss", "query"), Mode::Ok);
        assert_eq!(switches.decide("toss", "confirm"), Mode::Timeout);
        assert_eq!(switches.decide("toss", "confirm"), Mode::Ok);
    }

    #[tokio::test]
    async fn a_switch_that_makes_no_sense_is_refused() {
        let switches = Switches::new(["toss"]);
        let refuse = Switch::new("toss", Mode::Refuse).reach(Reach::Next(1));
        assert_eq!(switches.set(refuse).await.expect_err("a part").field, "mode");
        assert_eq!(switches.reset("nobody").await.expect_err("a name").field, "provider");
        assert_eq!(switches.decide("toss", "confirm"), Mode::Ok);
    }
}
