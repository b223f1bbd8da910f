//! What each address answers: one file per kind of thing that is asked for. `app.rs` lists the addresses.

pub(crate) mod blobs;
pub(crate) mod btf;
pub(crate) mod btfhub;
pub(crate) mod debuginfod;
mod find;
pub(crate) mod home;
pub(crate) mod kernels;
pub(crate) mod lookup;
pub(crate) mod none;
pub(crate) mod operations;
pub(crate) mod tree;

use axum::response::Response;
use btf_archive::{Digest, KernelRecord};
use serde::Serialize;

use crate::http::problem::Problem;
use crate::http::representation::{Asked, Freshness, Representation};

/// Media types.
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

/// An answer in JSON, with an entity tag of its content.
async fn json(asked: &Asked, freshness: Freshness, content: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(content).map_err(|error| Problem::internal(&error))?;
    let tag = Digest::of(&text).to_string();
    Representation::new(&tag, JSON, freshness).answer(asked, async { Ok(text.into()) }).await
}

/// Headers that say whose BTF an answer holds.
fn kernel_headers(representation: Representation, kernel: &KernelRecord) -> Representation {
    let representation = representation
        .header("btf-digest", &format!("sha256:{}", kernel.digest))
        .header("btf-key", &kernel.key.to_string());
    match &kernel.build_id {
        Some(build_id) => representation.header("btf-build-id", &build_id.to_string()),
        None => representation,
    }
}
