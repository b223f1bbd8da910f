//! The HTTP service of a BTF archive.
//!
//! Layers, each of which uses only those below it:
//!
//! 1. the program (`main.rs`, `cli/`): arguments, signals, exit codes;
//! 2. [`serve`]: listener and connections (`server`), what every request gets (`requests`), which address leads where
//!    (`app`);
//! 3. `endpoints/`: what each address answers;
//! 4. `blobs`: blobs in the forms that clients want, cached; `metrics`: what the service counts about itself;
//! 5. `http/`: HTTP's own rules (conditions, ranges, codings, problem documents), `txz`: BTFHub's file format: pure
//!    functions without a store.
//!
//! Beside the service: [`intake`] reads BTF that a person hands in, [`verify`] checks a whole archive, [`repair`] mends it.
//!
//! The addresses, headers and errors are described for clients in the book, `reference/http.md`.

mod app;
mod blobs;
pub mod carry;
mod endpoints;
pub mod export;
mod http;
pub mod import;
pub mod intake;
mod metrics;
pub mod mirror;
pub mod repair;
mod requests;
mod server;
mod txz;
mod upkeep;
pub mod verify;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use btf_archive::store::Archive;
use tokio::net::TcpListener;

/// How the service treats its clients.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a request may take until its answer begins.
    pub deadline: Duration,
    /// How long requests under way may go on when the service stops.
    pub grace: Duration,
    /// The most connections at once; more wait.
    pub connections: usize,
    /// How long until it is looked again whether others have published.
    pub refresh: Duration,
    /// How many bytes a second to re-read, to find what has rotted; none: nothing is.
    pub scrub: Option<NonZeroU64>,
}

/// Serves an archive until `stop` is ready and the requests under way have ended.
pub async fn serve(
    archive: Archive,
    listener: TcpListener,
    options: Options,
    stop: impl Future<Output = ()>,
) {
    let app = app::App::new(archive, options.deadline);
    let router = app::router(Arc::clone(&app));
    tokio::select! {
        () = server::serve(listener, router, options.connections, stop, options.grace) => {}
        never = upkeep::refresh(&app.archive, options.refresh) => match never {},
        never = upkeep::scrub(&app, options.scrub) => match never {},
    }
}
