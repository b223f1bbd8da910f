//! What every request gets, whatever it asks for: an id, a deadline, limits, an answer even if a handler panics, a line in
//! the access log, and a place in the metrics.

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use crate::app::App;
use crate::http::problem::Problem;
use crate::server::Peer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest path and query string, in bytes.
const MAX_URL: usize = 4 << 10;
/// The longest id that is taken over from a client, in bytes.
const MAX_ID: usize = 64;

/// Answers one request.
pub(crate) async fn answer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = InFlight::new(&app);
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().get(..MAX_URL).unwrap_or(request.uri().path()).to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let peer = request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.0));
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());

    let response = match limits(&request) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            let handled = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind();
            match tokio::time::timeout(app.deadline, handled).await {
                Ok(Ok(response)) => response,
                // The panic's message went to stderr with its place.
                Ok(Err(_)) => span.in_scope(|| Problem::internal(&Panicked)).into_response(),
                Err(_) => too_slow(app.deadline).into_response(),
            }
        }
    };
    let mut response = Problem::finish(response, &path);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

    let took = started.elapsed();
    let status = response.status().as_u16();
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = length.filter(|_| method != "HEAD").unwrap_or(0);
    app.metrics.answered(&route, status, took, bytes);
    let microseconds = took.as_micros() as u64;
    span.in_scope(|| tracing::info!(target: "access", %method, path, status, bytes, microseconds, peer));
    response
}

/// Checks what can be checked before anything is done. No address takes a body yet.
fn limits(request: &Request) -> Result<(), Problem> {
    let len = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if len > MAX_URL {
        let detail = format!("the path and query string have {len} bytes, of at most {MAX_URL}");
        return Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "address-too-long",
            "The address is too long",
            detail,
        ));
    }
    let headers = request.headers();
    let empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !empty || headers.contains_key(TRANSFER_ENCODING) {
        let detail = "this address takes no body";
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            detail,
        ));
    }
    Ok(())
}

fn too_slow(deadline: Duration) -> Problem {
    let detail = format!("no answer within {} seconds; the work may go on, so try again", deadline.as_secs());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "The server was too slow", detail)
        .header(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// The client's own id if it is a harmless one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let own = headers
        .get(REQUEST_ID)
        .filter(|id| (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(harmless));
    own.cloned().unwrap_or_else(new_id)
}

/// Unique within this run, and in all likelihood among all runs.
fn new_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static RUN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| RandomState::new().hash_one(0));
    let id = format!("{:016x}-{:x}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct Panicked;

/// Counts a request as under way until it is answered or its client leaves.
struct InFlight(Arc<App>);

impl InFlight {
    fn new(app: &Arc<App>) -> Self {
        app.metrics.in_flight.inc();
        Self(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}
