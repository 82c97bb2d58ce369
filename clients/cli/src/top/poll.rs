//! Asks every node for its status, and one of them for the forecast.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::Client;
use client::retry::Policy;
use proto::v1::{ForecastRequest, ForecastResponse};

use super::round::Round;
use crate::duration;
use crate::failure::Failure;

/// A node that has not answered by then is called silent, whatever the interval is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Forecasts count rows of the nearest minutes: not oftener than this.
const FORECAST_EVERY: Duration = Duration::from_secs(5);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Whom to ask, and what was said last.
pub struct Poll {
    client: Client,
    endpoints: Vec<String>,
    began: Instant,
    forecast: Option<(Instant, Forecasts)>,
    errors: HashMap<String, client::Error>,
}

type Forecasts = (Option<ForecastResponse>, Option<ForecastResponse>);

impl Poll {
    /// Begins with these addresses; nodes they name are asked too.
    pub fn new(client: &Client, addresses: &str, interval: Duration) -> Poll {
        let policy = client.policy();
        let attempt = policy.attempt.min(PATIENCE.max(interval));
        let split = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
        Poll {
            client: client.with_policy(Policy { attempt, total: attempt, ..policy }),
            endpoints: split.map(str::to_owned).collect(),
            began: Instant::now(),
            forecast: None,
            errors: HashMap::new(),
        }
    }

    /// Asks everybody at once.
    pub async fn round(&mut self) -> Round {
        let at = self.began.elapsed();
        let asked = self.endpoints.iter().map(|endpoint| {
            let client = self.client.clone();
            async move { (endpoint.clone(), client.cluster_status_of(endpoint).await) }
        });
        self.forecast.take_if(|(taken, _)| taken.elapsed() >= FORECAST_EVERY);
        let known = self.forecast.take();
        let forecast = async {
            match known {
                Some(known) => known,
                None => (Instant::now(), forecasts(&self.client).await),
            }
        };
        let (answers, forecast) = tokio::join!(futures::future::join_all(asked), forecast);
        let (hour, day) = forecast.1.clone();
        self.forecast = Some(forecast);
        self.errors.clear();
        let mut round = Round { at, now_s: now_s(), hour, day, ..Round::default() };
        for (endpoint, answer) in answers {
            let answer = answer.map_err(|error| {
                let why = brief(&error);
                self.errors.insert(endpoint.clone(), error);
                why
            });
            round.answers.push((endpoint, answer));
        }
        self.endpoints = round.endpoints();
        round
    }

    /// The failure to end with when nobody answered a round.
    pub fn why_silent(&mut self, round: &Round) -> Failure {
        let first = round.answers.iter().find_map(|(endpoint, _)| self.errors.remove(endpoint));
        first.map_or_else(|| Failure::error("no address to ask"), Failure::from)
    }
}

/// The forecasts of the next hour and day. Without an answer there is none, and the view says so.
async fn forecasts(client: &Client) -> Forecasts {
    let ask = |step, span| {
        client.forecast(ForecastRequest {
            topic: String::new(),
            step: Some(duration::proto(step)),
            span: Some(duration::proto(span)),
        })
    };
    let (hour, day) = tokio::join!(ask(MINUTE, HOUR), ask(15 * MINUTE, DAY));
    (hour.ok(), day.ok())
}

/// Why a node does not answer, without the endpoint that is said beside it.
fn brief(error: &client::Error) -> String {
    match error {
        client::Error::TimedOut { after } => format!("no answer within {}", duration::show(*after)),
        client::Error::Disconnected { message, .. } => message.clone(),
        error => error.to_string(),
    }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
