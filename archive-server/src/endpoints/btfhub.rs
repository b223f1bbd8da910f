//! BTFHub's layout: `/{ID}/{VERSION_ID}/{arch}/{release}.btf.tar.xz`, in any spelling of its parts.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::{find, kernel_headers};
use crate::app::App;
use crate::http::address::Segments;
use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness, Representation};
use crate::txz;

/// `GET /{ID}/{VERSION_ID}/{arch}/{release}.btf.tar.xz`
pub(crate) async fn packed(
    State(app): State<Arc<App>>,
    Segments((distro, version, arch, file)): Segments<(String, String, String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let release = file.strip_suffix(".btf.tar.xz").ok_or_else(Problem::no_such_page)?;
    let kernel = find::by_key(&app, &distro, &version, &arch, release).await?;
    let tag = format!("{}.{}", kernel.digest, txz::EDITION);
    // The member has the name that was asked for, where a distribution has two spellings of a release.
    let load =
        async { app.blobs.packed(kernel.digest, release).await.map_err(|error| Problem::internal(&error)) };
    kernel_headers(Representation::new(&tag, "application/x-xz", Freshness::Name), &kernel)
        .answer(&asked, load)
        .await
}
