//! Addresses: the variable parts of a path, and query strings of which no parameter is left unread.
//!
//! A parameter that we do not know is refused: `?distor=debian` must not list everything, and a newer client's
//! `?form=elf` must not quietly get something else.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The variable parts of the path, percent-decoded. An encoded slash does not divide parts: it is a character in one.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refuse = |rejection| Problem::bad_request(format!("the path: {}", innermost(&rejection)));
        let Path(segments) = Path::from_request_parts(parts, state).await.map_err(refuse)?;
        Ok(Self(segments))
    }
}

/// The query string as a `T`, which must be `deny_unknown_fields`.
pub(crate) struct Parameters<T>(pub(crate) T);

/// For addresses that take no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |rejection| Problem::bad_request(format!("the query string: {}", innermost(&rejection)));
        let Query(parameters) = Query::try_from_uri(&parts.uri).map_err(refuse)?;
        Ok(Self(parameters))
    }
}

/// The words of the innermost cause, which names the parameter.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// A parameter that is there but empty, as forms send it, counts as not given.
pub(crate) fn given(parameter: Option<String>) -> Option<String> {
    parameter.filter(|value| !value.is_empty())
}
