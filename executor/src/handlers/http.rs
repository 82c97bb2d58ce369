//! Posts each trigger to a URL.

use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode, Url};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::handlers::{rfc3339, token_text};
use crate::outbound::{self, Roots, retry_after};
use crate::outcome::Outcome;

/// Bytes of an answer that are read for the error text.
const ANSWER_BYTES_MAX: usize = 512;
/// Kept between the end of a request and the end of the lease, for the report.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Why a URL cannot be posted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// Posts the payload of each trigger to a URL, with the facts as headers.
///
/// 2xx is success. 408, 425, 429, 5xx and a connection that fails or is too slow are retried, no earlier than
/// Retry-After says. Everything else fails for good; redirects are not followed.
///
/// Headers: `bosingak-namespace`, `-id`, `-topic`, `-partition`, `-generation`, `-attempt`, `-due` and `-fired` (RFC 3339,
/// UTC), `-fencing-token` (`epoch.term.counter`), `idempotency-key`, and `content-type` from the label of that name, else
/// `application/octet-stream`.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    url: Url,
}

impl Http {
    /// Posts to this URL. Only `http://`: encryption is left to a proxy beside the executor.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let url: Url = url.parse().map_err(|error| UrlError(format!("{url:?} is no URL: {error}")))?;
        if url.scheme() != "http" {
            return Err(UrlError(format!("{url}: only http:// is supported")));
        }
        let client = outbound::client(Roots::Nobody).map_err(UrlError)?;
        let client = client.build().map_err(|error| UrlError(error.to_string()))?;
        Ok(Http { client, url })
    }

    async fn post(self, delivery: Delivery) -> Outcome {
        let content_type = delivery.labels().get("content-type").map(String::as_str);
        let request = self
            .client
            .post(self.url.clone())
            .timeout(delivery.time_left().saturating_sub(ANSWER_MARGIN))
            .headers(headers(&delivery))
            .header(CONTENT_TYPE, content_type.unwrap_or("application/octet-stream"))
            .body(delivery.payload().clone());
        match request.send().await {
            Ok(response) => judge(response).await,
            // A label that cannot be a header would never be one.
            Err(error) if error.is_builder() => Outcome::fail(text_of(&error)),
            Err(error) => Outcome::retry(text_of(&error)),
        }
    }
}

impl Handler for Http {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        Box::pin(self.clone().post(delivery))
    }
}

async fn judge(response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Success;
    }
    let after = retry_after(response.headers(), SystemTime::now());
    let said = beginning(response).await;
    let error = match said.trim() {
        "" => format!("HTTP {status}"),
        said => format!("HTTP {status}: {said}"),
    };
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Retry { error, after }
        }
        status if status.is_server_error() => Outcome::Retry { error, after },
        _ => Outcome::Fail { error },
    }
}

async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_BYTES_MAX);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text_of(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer within the lease".to_owned() } else { outbound::cause_of(error) }
}

fn headers(delivery: &Delivery) -> HeaderMap {
    let facts = [
        ("bosingak-namespace", delivery.namespace().to_owned()),
        ("bosingak-id", delivery.id().to_owned()),
        ("bosingak-topic", delivery.topic().to_owned()),
        ("bosingak-partition", delivery.partition().to_string()),
        ("bosingak-generation", delivery.generation().to_string()),
        ("bosingak-attempt", delivery.attempt().to_string()),
        ("bosingak-due", rfc3339(delivery.due())),
        ("bosingak-fired", rfc3339(delivery.fired())),
        ("bosingak-fencing-token", token_text(delivery.fencing_token())),
        ("idempotency-key", delivery.idempotency_key()),
    ];
    // Ids are printable ASCII by the protocol; a server that sends others gets no header for them.
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((reqwest::header::HeaderName::from_static(name), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::HeaderMap as AxumHeaders;
    use axum::response::IntoResponse;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    fn delivery(path: &str) -> Delivery {
        let facts = proto::v1::Delivery {
            namespace: "shop".into(),
            id: "order-1".into(),
            generation: 8192,
            attempt: 3,
            payload: path.to_owned().into(),
            ..Default::default()
        };
        Delivery::new(Arc::new(facts), Instant::now() + Duration::from_millis(800))
    }

    async fn serve(app: Router) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let serving = async move { axum::serve(listener, app).await.unwrap_or(()) };
        (url, tokio::spawn(serving))
    }

    async fn answered(status: u16, retry_after: Option<&'static str>) -> Outcome {
        let answer = move || async move {
            let status = axum::http::StatusCode::from_u16(status).expect("a status");
            let headers: Vec<_> = retry_after.iter().map(|after| ("retry-after", *after)).collect();
            let mut response = (status, "because").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a value"));
            }
            response
        };
        let (url, server) = serve(Router::new().fallback(answer)).await;
        let outcome = Http::new(&url).expect("a URL").handle(delivery("")).await;
        server.abort();
        outcome
    }

    #[tokio::test]
    async fn status_codes_decide() {
        assert_eq!(answered(204, None).await, Outcome::Success);
        let fail = Outcome::fail("HTTP 422 Unprocessable Entity: because");
        assert_eq!(answered(422, None).await, fail);
        assert!(matches!(answered(302, None).await, Outcome::Fail { .. }));
        for status in [408, 425, 429, 500, 503] {
            assert!(matches!(answered(status, None).await, Outcome::Retry { after: None, .. }), "{status}");
        }
        let Outcome::Retry { after, .. } = answered(503, Some("7")).await else { panic!("a retry") };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn facts_are_headers_and_the_payload_is_the_body() {
        let seen = Arc::new(Mutex::new(None));
        let keep = seen.clone();
        let app = Router::new().fallback(move |headers: AxumHeaders, body: String| async move {
            *keep.lock().expect("not poisoned") = Some((headers, body));
        });
        let (url, server) = serve(app).await;
        assert_eq!(Http::new(&url).expect("a URL").handle(delivery("body")).await, Outcome::Success);
        let (headers, body) = seen.lock().expect("not poisoned").take().expect("it arrived");
        assert_eq!(body, "body");
        assert_eq!(headers["idempotency-key"], "shop/order-1/8192");
        assert_eq!(headers["bosingak-attempt"], "3");
        assert_eq!(headers["content-type"], "application/octet-stream");
        server.abort();
    }

    #[tokio::test]
    async fn nobody_there_and_too_slow_are_retried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        // Accepts into the backlog and never answers.
        let outcome = Http::new(&url).expect("a URL").handle(delivery("")).await;
        assert_eq!(outcome, Outcome::retry("no answer within the lease"));
        drop(listener);
        let outcome = Http::new(&url).expect("a URL").handle(delivery("")).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }

    #[test]
    fn only_what_can_be_spoken_is_taken() {
        assert!(Http::new("https://example.org").is_err_and(|e| e.to_string().contains("only http://")));
        assert!(Http::new("no url").is_err());
    }
}
