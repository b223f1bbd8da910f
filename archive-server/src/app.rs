//! The service without its listener: what it holds, and which address leads where.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Router, middleware};
use btf_archive::store::Archive;

use crate::blobs::Blobs;
use crate::endpoints::{blobs, btf, btfhub, debuginfod, home, kernels, lookup, none, operations, tree};
use crate::metrics::Metrics;
use crate::requests;

/// What the handlers share.
pub(crate) struct App {
    pub(crate) archive: Arc<Archive>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) metrics: Arc<Metrics>,
    /// How long a request may take until its answer begins.
    pub(crate) deadline: Duration,
}

impl App {
    pub(crate) fn new(archive: Archive, deadline: Duration) -> Arc<Self> {
        let archive = Arc::new(archive);
        let metrics = Arc::new(Metrics::new());
        let blobs = Blobs::new(Arc::clone(&archive), Arc::clone(&metrics));
        Arc::new(Self { archive, blobs, metrics, deadline })
    }
}

/// Every address of the service.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(home::page))
        // Ours.
        .route("/v1/kernels", get(kernels::list))
        .route("/v1/kernels/{distro}/{version}/{arch}/{release}", get(kernels::one))
        .route("/v1/btf/{distro}/{version}/{arch}/{release}", get(btf::by_key))
        .route("/v1/btf/by-build-id/{build_id}", get(btf::by_build_id))
        .route("/v1/lookup", get(lookup::lookup))
        .route("/v1/blobs/sha256/{digest}", get(blobs::by_digest))
        // Other tools' dialects.
        .route("/buildid/{build_id}/section/{section}", get(debuginfod::section))
        .route("/{distro}/{version}/{arch}/{file}", get(btfhub::packed))
        // The archive's own tree, for mirrors and for loaders that need no service.
        .route("/latest.json", get(tree::latest))
        .route("/latest.json.minisig", get(tree::latest_signature))
        .route("/keys.json", get(tree::keys))
        .route("/keys.json.minisig", get(tree::keys_signature))
        .route("/keys/{file}", get(tree::numbered_keys_signature))
        .route("/snapshots/{file}", get(tree::snapshot))
        .route("/snapshots/parts/{prefix}/{file}", get(tree::part))
        .route("/blobs/sha256/{prefix}/{file}", get(tree::blob))
        // For those who run it.
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .fallback(none::page)
        .method_not_allowed_fallback(none::method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), requests::answer))
        .with_state(app)
}
