//! Finding the kernel that an address names, or saying clearly that it is not there.

use axum::http::StatusCode;
use btf_archive::store::{Error, Lookup, LookupQuery, Subject};
use btf_archive::{BuildId, KernelRecord, Key};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::http::problem::Problem;

/// The parts of a key, as the path has them: any known spelling.
#[derive(Deserialize)]
pub(crate) struct KeyParts {
    distro: String,
    version: String,
    arch: String,
    release: String,
}

/// The kernel of that key.
pub(super) async fn by_parts(app: &App, parts: &KeyParts) -> Result<KernelRecord, Problem> {
    by_key(app, &parts.distro, &parts.version, &parts.arch, &parts.release).await
}

/// The kernel of that key, each part in any known spelling.
///
/// # Errors
/// 400 for what can be no key; 404 with the nearest kernels, and why BTF could not be made if that was tried.
pub(super) async fn by_key(
    app: &App,
    distro: &str,
    version: &str,
    arch: &str,
    release: &str,
) -> Result<KernelRecord, Problem> {
    let key =
        Key::new(distro, version, arch, release).map_err(|error| Problem::bad_request(error.to_string()))?;
    let catalog = app.archive.catalog();
    if let Some(kernel) = catalog.by_name(&key).await.map_err(archive)? {
        return Ok(kernel);
    }
    // Spellings of the release, which only a search finds; and if there is nothing, what comes near.
    let query = LookupQuery {
        build_id: None,
        release: Some(key.release().to_owned()),
        arch: Some(key.arch().to_owned()),
        os_id: Some(key.distro().to_owned()),
        os_version: Some(key.version().to_owned()),
    };
    let nearest = match catalog.lookup(&query).await.map_err(archive)? {
        Lookup::Exact(kernel) | Lookup::ByName(kernel) => return Ok(kernel),
        Lookup::Ambiguous(others) => others,
        Lookup::NotFound { nearest } => nearest,
    };
    let failure = catalog.failure(&Subject::Key(key.clone())).await.map_err(archive)?;
    let Some(failure) = failure else {
        return Err(unknown(format!("{key} is not in this archive"), nearest));
    };
    let detail = format!("{key} is not in this archive: its BTF could not be made: {}", failure.reason);
    Err(unknown(detail, nearest).with(
        "failure",
        FailureOut {
            reason: failure.reason,
            attempts: failure.attempts,
            first: failure.first,
            last: failure.last,
        },
    ))
}

/// The kernel of this build-id, as the path has it.
///
/// # Errors
/// 400 for what is no build-id; 404.
pub(super) async fn by_build_id(app: &App, text: &str) -> Result<KernelRecord, Problem> {
    let build_id: BuildId =
        text.parse().map_err(|error: btf_archive::Error| Problem::bad_request(error.to_string()))?;
    // One kernel under several keys is still one kernel.
    let found = app.archive.catalog().by_build_id(&build_id).await.map_err(archive)?;
    let absent = || unknown(format!("no kernel with build-id {build_id} is in this archive"), Vec::new());
    found.into_iter().next().ok_or_else(absent)
}

/// 404 for a kernel.
pub(super) fn unknown(detail: String, nearest: Vec<KernelRecord>) -> Problem {
    let nearest: Vec<Nearest> =
        nearest.into_iter().map(|kernel| Nearest { key: kernel.key, build_id: kernel.build_id }).collect();
    Problem::new(StatusCode::NOT_FOUND, "unknown-kernel", "Unknown kernel", detail).with("nearest", nearest)
}

/// What a failure of the archive means for the client: a question that makes no sense is the client's, all else is ours.
pub(super) fn archive(error: Error) -> Problem {
    match error {
        Error::Query { .. } | Error::Input(_) => Problem::bad_request(error.to_string()),
        error => Problem::internal(&error),
    }
}

/// A kernel with a similar name. Its digest is left out, so that nobody takes its BTF by mistake.
#[derive(Serialize)]
struct Nearest {
    key: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<BuildId>,
}

/// Why BTF could not be made, the last time; times in seconds since 1970 (UTC).
#[derive(Serialize)]
struct FailureOut {
    reason: String,
    attempts: u64,
    first: u64,
    last: u64,
}
