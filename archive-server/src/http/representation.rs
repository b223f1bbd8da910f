//! One representation of one thing, answered as its request asks: whole, in part, only its headers, or not again.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::conditional::{self, Precondition};
use super::encoding::Coding;
use super::problem::Problem;
use super::range::{self, Selected};

/// How long others may keep an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freshness {
    /// The address names the content by its digest: for ever.
    Immutable,
    /// The address names a kernel: five minutes, then ask again with the entity tag.
    Name,
    /// Changes whenever the archive does: may be kept, but must be asked for each time.
    Live,
}

impl Freshness {
    pub(crate) const fn cache_control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Freshness::Immutable => "public, max-age=31536000, immutable",
            Freshness::Name => "public, max-age=300, must-revalidate",
            Freshness::Live => "public, no-cache",
        })
    }
}

/// What a request asks for besides its address.
pub(crate) struct Asked {
    method: Method,
    pub(crate) headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self { method: parts.method.clone(), headers: parts.headers.clone() })
    }
}

/// Everything about the representation but its bytes.
pub(crate) struct Representation {
    etag: String,
    /// Its size in bytes, where that is known before the bytes are.
    len: Option<u64>,
    headers: HeaderMap,
}

impl Representation {
    /// A representation with a strong entity tag: `tag` must change whenever the bytes do. It needs no quotes and
    /// may hold none.
    pub(crate) fn new(tag: &str, content_type: &'static str, freshness: Freshness) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, freshness.cache_control());
        Self { etag: format!("\"{tag}\""), len: None, headers }
    }

    /// The size, where it is known before the bytes are: then HEAD needs no bytes.
    pub(crate) fn len(mut self, bytes: u64) -> Self {
        self.len = Some(bytes);
        self
    }

    /// The coding that was chosen by `Accept-Encoding`, even if it is identity.
    pub(crate) fn negotiated(mut self, coding: Coding) -> Self {
        self.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if coding != Coding::Identity {
            self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        self
    }

    /// One more header; left out if the value could not be one.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The answer. The bytes are loaded only if it needs them.
    ///
    /// # Errors
    /// What `load` fails with; 412 for `If-Match`; 416 for a range past the end.
    pub(crate) async fn answer(
        self,
        asked: &Asked,
        load: impl Future<Output = Result<Bytes, Problem>>,
    ) -> Result<Response, Problem> {
        let Self { etag, len, mut headers } = self;
        headers.insert(ETAG, header_value(&etag));
        match conditional::evaluate(&asked.headers, &etag) {
            Precondition::Met => {}
            Precondition::NotModified => {
                // Section 15.4.5 wants what a cache updates, and no more.
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
                return Ok(response(StatusCode::NOT_MODIFIED, headers, Body::empty()));
            }
            Precondition::Failed => {
                let detail = format!("If-Match does not name {etag}, which is what there is");
                let title = "A precondition failed";
                return Err(Problem::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition-failed",
                    title,
                    detail,
                ));
            }
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let get = asked.method == Method::GET;
        if let (false, Some(len)) = (get, len) {
            headers.insert(CONTENT_LENGTH, len.into());
            return Ok(response(StatusCode::OK, headers, Body::empty()));
        }

        let mut bytes = load.await?;
        let len = bytes.len() as u64;
        let mut status = StatusCode::OK;
        let ranges = get && conditional::range_allowed(&asked.headers, &etag);
        match if ranges { range::select(&asked.headers, len) } else { Selected::Whole } {
            Selected::Whole => {}
            Selected::Part(part) => {
                headers.insert(
                    CONTENT_RANGE,
                    header_value(&format!("bytes {}-{}/{len}", part.start, part.end - 1)),
                );
                // Both ends are at most the length of bytes in memory.
                bytes = bytes.slice(part.start as usize..part.end as usize);
                status = StatusCode::PARTIAL_CONTENT;
            }
            Selected::Unsatisfiable => {
                let detail = format!("the range lies past the end; there are {len} bytes");
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                return Err(Problem::new(status, "range", "The range cannot be satisfied", detail)
                    .header(CONTENT_RANGE, header_value(&format!("bytes */{len}"))));
            }
        }
        headers.insert(CONTENT_LENGTH, (bytes.len() as u64).into());
        Ok(response(status, headers, Body::from(bytes)))
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A header of hexadecimal digits and punctuation that we wrote ourselves.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
