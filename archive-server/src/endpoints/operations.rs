//! For those who run the service: is it alive, can it answer, what has it done.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use btf_archive::store::Error;
use serde_json::json;

use super::find;
use crate::app::App;
use crate::http::problem::{Problem, log_failure};
use crate::metrics;

const NEVER_STORED: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "no-store");

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> impl IntoResponse {
    ([NEVER_STORED], "ok\n")
}

/// `GET /readyz`: catalog and store can be read.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let read = async {
        let kernels = app.archive.catalog().count().await?;
        Ok::<_, Error>((kernels, app.archive.latest().await?))
    };
    match read.await {
        Ok((kernels, latest)) => {
            let snapshot = latest.map(|latest| latest.number);
            Ok(([NEVER_STORED], axum::Json(json!({ "kernels": kernels, "snapshot": snapshot })))
                .into_response())
        }
        Err(error) => {
            log_failure(&error);
            let detail = "the archive cannot be read; the server's log tells why";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready", detail))
        }
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    app.metrics.kernels.set(app.archive.catalog().count().await.map_err(find::archive)?);
    let text = app.metrics.encode().map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE), NEVER_STORED], text))
}
