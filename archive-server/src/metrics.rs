//! What the service counts about itself, as Prometheus reads it (OpenMetrics text). The table is in the book,
//! `reference/http.md`.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: a cached answer takes a fraction of a millisecond, packing a `.tar.xz` some seconds.
const SECONDS: [f64; 11] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    /// The route, with its variable parts in braces, so that there are few.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
}

/// The counters of one running service.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
    sent: Counter,
    /// Requests that are being answered.
    pub(crate) in_flight: Gauge,
    /// Kernels in the catalog.
    pub(crate) kernels: Gauge<u64, AtomicU64>,
    misses: Family<CacheLabel, Counter>,
    scrubbed_objects: Counter,
    scrubbed_bytes: Counter,
    scrubs: Counter,
    damaged: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let durations = || Histogram::new(SECONDS);
        let metrics = Self {
            registry: Registry::with_prefix("btf_archive"),
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            sent: Counter::default(),
            in_flight: Gauge::default(),
            kernels: Gauge::default(),
            misses: Family::default(),
            scrubbed_objects: Counter::default(),
            scrubbed_bytes: Counter::default(),
            scrubs: Counter::default(),
            damaged: Gauge::default(),
        };
        let Self { mut registry, requests, durations, sent, in_flight, kernels, misses, .. } = metrics;
        let Self { scrubbed_objects, scrubbed_bytes, scrubs, damaged, .. } = metrics;
        registry.register("http_requests", "Requests answered", requests.clone());
        let help = "Time until an answer's head was ready";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        registry.register_with_unit("http_response_body", "Body bytes promised", Unit::Bytes, sent.clone());
        registry.register("http_requests_in_flight", "Requests being answered", in_flight.clone());
        registry.register("kernels", "Kernels in the catalog", kernels.clone());
        registry.register("cache_misses", "Bytes that had to be read or made, by cache", misses.clone());
        let help = "Objects that were read again to find rot";
        registry.register("scrubbed_objects", help, scrubbed_objects.clone());
        registry.register_with_unit("scrubbed", "Their size as stored", Unit::Bytes, scrubbed_bytes.clone());
        registry.register("scrubs", "Scrubs of the whole archive that ended", scrubs.clone());
        registry.register("damaged_objects", "Objects that the last of them found damaged", damaged.clone());
        let started: Gauge<u64, AtomicU64> = Gauge::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let help = "When the service started, in seconds since 1970";
        registry.register_with_unit("start_time", help, Unit::Seconds, started);
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            requests,
            durations,
            sent,
            in_flight,
            kernels,
            misses,
            scrubbed_objects,
            scrubbed_bytes,
            scrubs,
            damaged,
        }
    }

    /// Counts what a scrub has read.
    pub(crate) fn scrubbed(&self, objects: u64, bytes: u64) {
        self.scrubbed_objects.inc_by(objects);
        self.scrubbed_bytes.inc_by(bytes);
    }

    /// Counts a scrub that has ended, and what it found damaged.
    pub(crate) fn scrub_ended(&self, damaged: u64) {
        self.scrubs.inc();
        self.damaged.set(damaged);
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration, bytes: u64) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
        self.durations.get_or_create(&RouteLabel { route: route.to_owned() }).observe(took.as_secs_f64());
        self.sent.inc_by(bytes);
    }

    /// Counts something that a cache did not have.
    pub(crate) fn missed(&self, cache: &'static str) {
        self.misses.get_or_create(&CacheLabel { cache }).inc();
    }

    /// Everything, as text.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
