//! `/`: what this is and how to use it, for a person who opens it in a browser.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse};

use super::find;
use crate::app::App;
use crate::http::problem::Problem;
use crate::http::representation::Freshness;

/// `GET /`
pub(crate) async fn page(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    let kernels = app.archive.catalog().count().await.map_err(find::archive)?;
    let latest = app.archive.latest().await.map_err(find::archive)?;
    let snapshot =
        latest.map_or("no snapshot yet".to_owned(), |latest| format!("snapshot {}", latest.number));
    let page = format!(
        include_str!("home.html"),
        kernels = kernels,
        snapshot = snapshot,
        version = env!("CARGO_PKG_VERSION")
    );
    let policy = (CONTENT_SECURITY_POLICY, "default-src 'none'");
    Ok(([policy], [(CACHE_CONTROL, Freshness::Live.cache_control())], Html(page)))
}
