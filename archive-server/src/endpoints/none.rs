//! What is not there.

use axum::http::{Method, StatusCode};

use crate::http::problem::Problem;

/// Every address that leads nowhere.
pub(crate) async fn page() -> Problem {
    Problem::no_such_page()
}

/// Methods that an address does not know. The router adds `Allow`.
pub(crate) async fn method(method: Method) -> Problem {
    let detail = format!("{method} is not for this address; see the Allow header");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Method not allowed", detail)
}
