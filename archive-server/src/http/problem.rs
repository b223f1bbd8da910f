//! Errors as problem documents (RFC 9457): `type`, `title`, `status`, `detail`, `instance`, and members of their own.
//!
//! A handler returns a [`Problem`]; it travels as an extension of an empty response to [`Problem::finish`], which knows
//! the request and writes the document. `instance` is the path that was asked for, as it was sent.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// One problem to tell the client about.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The end of the `type`, which is what programs compare: `urn:btf-archive:problem:KIND`.
    kind: &'static str,
    title: &'static str,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind; `detail` says what was wrong with this request, and what to do.
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is malformed", detail)
    }

    /// 404: there is nothing at this address.
    pub(crate) fn no_such_page() -> Self {
        let detail = "there is nothing at this address; the addresses that exist are listed at /";
        Self::new(StatusCode::NOT_FOUND, "no-such-page", "No such page", detail)
    }

    /// 500: our fault. The cause goes to the log, where the request's id finds it, and not to the client.
    pub(crate) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        log_failure(cause);
        let detail = "the server's log tells more under this request's x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", detail)
    }

    /// Adds a member of its own.
    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // What we serialise are plain structs of strings and numbers, which cannot fail; a missing member would still be
        // better than no answer.
        if let Ok(value) = serde_json::to_value(value) {
            self.members.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds a header to the answer.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Writes the document into a response that carries a problem; other responses pass through.
    pub(crate) fn finish(mut response: Response, instance: &str) -> Response {
        let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
        let document = Document {
            r#type: format!("urn:btf-archive:problem:{}", problem.kind),
            title: problem.title,
            status: problem.status.as_u16(),
            detail: problem.detail,
            instance,
            members: problem.members,
        };
        // Strings and numbers under string keys can always be written.
        let text = serde_json::to_vec(&document).unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
        *response.body_mut() = Body::from(text);
        response
    }
}

/// Writes a failure of ours, with its causes, into the log.
pub(crate) fn log_failure(failure: &(dyn std::error::Error + 'static)) {
    let causes = std::iter::successors(failure.source(), |cause| cause.source());
    let chain: String = causes.map(|cause| format!(": {cause}")).collect();
    tracing::error!(error = format!("{failure}{chain}"), "request failed");
}

/// The document, its members in the order of RFC 9457's examples.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    instance: &'a str,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}
