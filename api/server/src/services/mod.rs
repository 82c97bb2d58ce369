//! The services, each a function of a message and a `Call` that gRPC and HTTP both call, and their gRPC side: one file per
//! subject.

pub mod cluster;
pub mod dead_letters;
pub mod executor;
pub mod forecast;
pub mod list;
pub mod poll;
pub mod scheduler;
pub mod topics;
pub mod watch;

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::forward;
use crate::node::Node;

/// Every service of a node; cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub(crate) node: Node,
}

/// A stream of answers.
pub type Answers<T> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

impl Services {
    /// The services of this node.
    pub fn new(node: Node) -> Services {
        Services { node }
    }

    /// Answers a unary gRPC call.
    pub(crate) async fn answer<T, R>(
        &self,
        method: &'static str,
        request: Request<T>,
        handle: impl AsyncFnOnce(T, Call) -> Result<R, Error>,
    ) -> Result<Response<R>, Status> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::new(&metadata, self.node.config().call_timeout);
        self.answer_call(method, message, call, handle).await.map(Response::new)
    }

    /// Answers a unary call, however it came: bounded in time, counted under the name of the gRPC method, errors as statuses.
    pub(crate) async fn answer_call<T, R>(
        &self,
        method: &'static str,
        message: T,
        call: Call,
        handle: impl AsyncFnOnce(T, Call) -> Result<R, Error>,
    ) -> Result<R, Status> {
        let started = Instant::now();
        let result = match tokio::time::timeout(call.left(), handle(message, call)).await {
            Ok(result) => result,
            Err(_) => Err(Error::OutcomeUnknown { reason: format!("not answered within {:?}", call.given) }),
        };
        let result = result.map_err(Status::from);
        let code = result.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
        crate::metrics::called(method, code, started.elapsed());
        result
    }
}

/// What is known about a call beside its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    forwarded: bool,
    given: Duration,
    until: Instant,
}

impl Call {
    fn new(metadata: &MetadataMap, cap: Duration) -> Call {
        let given = forward::time_left(metadata, cap);
        Call { forwarded: forward::is_forwarded(metadata), given, until: Instant::now() + given }
    }

    /// One that came to this node first, to be answered within `given`.
    pub(crate) fn within(given: Duration) -> Call {
        Call { forwarded: false, given, until: Instant::now() + given }
    }

    /// Of a stream: each item has the time of a unary call.
    pub(crate) fn of_item(metadata: &MetadataMap, cap: Duration) -> Call {
        Call { forwarded: forward::is_forwarded(metadata), given: cap, until: Instant::now() + cap }
    }

    /// The same call, its time beginning now.
    pub(crate) fn renewed(self) -> Call {
        Call { until: Instant::now() + self.given, ..self }
    }

    /// What is left of its time.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Where to pass the call on to, when this node cannot answer it. `None`: say so.
    pub(crate) fn pass_on_to(&self, error: &Error) -> Option<String> {
        match error {
            Error::NotLeader { leader: Some(leader), .. } if !self.forwarded => Some(leader.clone()),
            _ => None,
        }
    }

    /// The request to pass on.
    pub(crate) fn passed_on<T>(&self, message: T) -> Request<T> {
        forward::forwarded(message, self.left())
    }
}

/// Answers a call about one partition: here if this node leads, else by its leader, else says so.
///
/// `$client` is the generated client, `$method` the call's name in it.
macro_rules! route {
    ($services:expr, $call:expr, $partition:expr, $message:expr, $client:ident::$method:ident, $here:expr) => {{
        let partition = $partition;
        if partition.proposer().is_leading() {
            $here
        } else {
            let error = partition.not_leader();
            match $call.pass_on_to(&error) {
                None => Err(error),
                Some(leader) => {
                    let channel = $services.node.forwarder().channel(&leader)?;
                    let mut client =
                        $client::new(channel).max_decoding_message_size($services.node.config().message_bytes_max);
                    // Passing on is rare and its future is kilobytes: those who are answered here do not carry it.
                    let answer = Box::pin(client.$method($call.passed_on($message))).await;
                    answer.map(tonic::Response::into_inner).map_err(crate::forward::failed)
                }
            }
        }
    }};
}
pub(crate) use route;
