//! The limits of a client.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use super::address::Scope;

/// Limits of a [`Client`](super::Client).
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a server may stay silent, before its answer and between two pieces of a body.
    pub idle_timeout: Duration,
    /// How long one file may take in all, pauses and repeated attempts included.
    pub total_timeout: Duration,
    /// Bytes per second that a server must send, measured over `slow_window` of waiting for it.
    pub slowest_rate: u64,
    /// Over how much waiting `slowest_rate` is measured.
    pub slow_window: Duration,
    /// Attempts in a row that bring next to nothing (below 64 KiB), before giving up.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubled after each further one.
    pub first_pause: Duration,
    /// No pause is longer than this. A server that asks for a longer one (`Retry-After`) is given up, and the error says
    /// how long it wants to be left alone.
    pub longest_pause: Duration,
    /// Redirects followed for one request.
    pub redirects: usize,
    /// Requests at once to one host.
    pub connections_per_host: usize,
    /// Requests at once in all.
    pub connections: usize,
    /// Bytes per second received in all; none: as fast as the network.
    pub bandwidth: Option<u64>,
    /// Where names and addresses lie.
    pub network: Network,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(4 * 3600),
            slowest_rate: 4 << 10,
            slow_window: Duration::from_secs(30),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            redirects: 5,
            connections_per_host: 6,
            connections: 24,
            bandwidth: None,
            network: Network::default(),
        }
    }
}

/// The addresses of a host's name. May block.
pub type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// How names become addresses, and where those lie. Tests put a network of their own in its place.
#[derive(Clone)]
pub struct Network {
    /// Asked for each name that is connected to.
    pub addresses: Arc<Resolve>,
    /// Where an address lies.
    pub scope: fn(IpAddr) -> Scope,
}

impl Default for Network {
    /// The system's resolver, and the real Internet.
    fn default() -> Self {
        let addresses = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        Self { addresses: Arc::new(addresses), scope: Scope::of }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
