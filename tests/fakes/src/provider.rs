//! What every fake provider consists of.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::switches::{Failure, Switches};

/// One provider: what it publishes, and what tests and people may do to it.
pub struct Provider {
    /// Its name in switches and on the command line, lower case.
    pub name: &'static str,
    /// What it publishes. Subject to its switch.
    pub api: Router,
    /// What is done to it by tests and people, below `/fake/<name>`. Not subject to the switch.
    pub control: Router,
    /// The name of a call in switches, from method and path, such as `confirm`.
    pub call_of: fn(&Method, &str) -> &'static str,
    /// An error as this provider words it.
    pub failure: fn(&Failure) -> Response,
}

#[derive(Clone)]
struct Gate {
    switches: Switches,
    provider: &'static str,
    call_of: fn(&Method, &str) -> &'static str,
    failure: fn(&Failure) -> Response,
}

impl Provider {
    /// What it publishes, behind its switch.
    pub(crate) fn switched(&self, switches: &Switches) -> Router {
        let gate =
            Gate { switches: switches.clone(), provider: self.name, call_of: self.call_of, failure: self.failure };
        self.api.clone().layer(middleware::from_fn_with_state(gate, pass))
    }
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let call = (gate.call_of)(request.method(), request.uri().path());
    let mode = gate.switches.decide(gate.provider, call);
    mode.carry_out(gate.failure, request, next).await
}
