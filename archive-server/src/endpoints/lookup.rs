//! `/v1/lookup`: which kernel does a host run, by whatever it can tell.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use btf_archive::KernelRecord;
use btf_archive::store::{Lookup, LookupQuery};
use serde::{Deserialize, Serialize};

use super::{find, json};
use crate::app::App;
use crate::http::address::{Parameters, given};
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    build_id: Option<String>,
    release: Option<String>,
    arch: Option<String>,
    os_id: Option<String>,
    os_version: Option<String>,
}

#[derive(Serialize)]
struct Found {
    kernel: KernelRecord,
    r#match: Match,
}

/// What the answer rests on.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Match {
    /// The build-id: certain.
    BuildId,
    /// Distribution, version, architecture and release together: as certain as names are.
    Key,
    /// The release, and perhaps a part of the rest; no other kernel in the archive fits.
    Release,
}

#[derive(Serialize)]
struct Choices {
    candidates: Vec<KernelRecord>,
}

/// `GET /v1/lookup?release=&arch=&os_id=&os_version=&build_id=`
pub(crate) async fn lookup(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<Query>,
    asked: Asked,
) -> Result<Response, Problem> {
    let build_id = given(query.build_id).map(|text| text.parse()).transpose();
    let query = LookupQuery {
        build_id: build_id.map_err(|error: btf_archive::Error| Problem::bad_request(error.to_string()))?,
        release: given(query.release),
        arch: given(query.arch),
        os_id: given(query.os_id),
        os_version: given(query.os_version),
    };
    let found = |kernel, r#match| Found { kernel, r#match };
    match app.archive.catalog().lookup(&query).await.map_err(find::archive)? {
        Lookup::Exact(kernel) => json(&asked, Freshness::Name, &found(kernel, Match::BuildId)).await,
        Lookup::ByName(kernel) => {
            let whole = query.arch.is_some() && query.os_id.is_some() && query.os_version.is_some();
            let r#match = if whole { Match::Key } else { Match::Release };
            json(&asked, Freshness::Name, &found(kernel, r#match)).await
        }
        Lookup::Ambiguous(candidates) => {
            let mut response = json(&asked, Freshness::Live, &Choices { candidates }).await?;
            if response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::MULTIPLE_CHOICES;
            }
            Ok(response)
        }
        Lookup::NotFound { nearest } => {
            let detail = match (&query.build_id, &query.release) {
                (Some(id), Some(release)) => {
                    format!("neither build-id {id} nor a kernel {release} that could be it")
                }
                (Some(id), None) => format!("no kernel with build-id {id}"),
                (None, release) => format!("no kernel {}", release.as_deref().unwrap_or_default()),
            };
            Err(find::unknown(format!("{detail} is in this archive"), nearest))
        }
    }
}
