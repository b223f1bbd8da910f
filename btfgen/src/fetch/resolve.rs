//! Names to addresses, with addresses left out that a redirect must not lead to.
//!
//! The check is made on the very addresses that the connection will use: a name that means a public server at one moment and
//! this machine at the next gains nothing by it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address::Scope;
use super::options::Network;

/// The most names whose scope is remembered; beyond, they are forgotten and learnt again.
const NAMES: usize = 4096;

/// A network, and the scope of every name that was resolved in it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    network: Network,
    scopes: Arc<Mutex<HashMap<String, Scope>>>,
}

impl Names {
    pub(super) fn new(network: Network) -> Self {
        Self { network, scopes: Arc::default() }
    }

    /// Where the server of `url` lies, once it was connected to. A name that was never resolved here is a proxy's matter, and
    /// counts as public.
    pub(super) fn scope(&self, url: &Url) -> Scope {
        match url.host() {
            Some(Host::Ipv4(address)) => (self.network.scope)(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => (self.network.scope)(IpAddr::V6(address)),
            Some(Host::Domain(name)) => {
                let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
                scopes.get(&name.to_ascii_lowercase()).copied().unwrap_or(Scope::Public)
            }
            None => Scope::Public,
        }
    }

    /// Refuses a URL that names an address to which a server in `from` must not send us. Names are checked when resolved.
    pub(super) fn check(&self, from: Scope, url: &Url) -> Result<(), Refused> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        let scope = (self.network.scope)(address);
        if from.may_lead_to(scope) { Ok(()) } else { Err(Refused { name: address.to_string(), from, scope }) }
    }

    /// A resolver for requests that a server in `from` caused; for our own requests without.
    pub(super) fn resolver(&self, from: Option<Scope>) -> Arc<Resolver> {
        Arc::new(Resolver { names: self.clone(), from })
    }

    fn addresses(
        &self,
        name: &str,
        from: Option<Scope>,
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let mut addresses = (self.network.addresses)(name)?;
        let scope_of = self.network.scope;
        // A proxy is chosen by the one who runs this program, not by the server.
        let Some(from) = from.filter(|_| !is_proxy(name)) else {
            // The most public of several: what it redirects to is then judged the most strictly.
            let scopes = addresses.iter().map(|address| scope_of(*address));
            let scope = scopes.reduce(|a, b| if a.may_lead_to(b) { b } else { a }).unwrap_or(Scope::Public);
            self.remember(name, scope);
            return Ok(addresses);
        };
        let refused = addresses.iter().find(|address| !from.may_lead_to(scope_of(**address))).copied();
        addresses.retain(|address| from.may_lead_to(scope_of(*address)));
        match (addresses.first(), refused) {
            (Some(first), _) => self.remember(name, scope_of(*first)),
            (None, Some(refused)) => {
                return Err(
                    Refused { name: format!("{name} ({refused})"), from, scope: scope_of(refused) }.into()
                );
            }
            (None, None) => {}
        }
        Ok(addresses)
    }

    fn remember(&self, name: &str, scope: Scope) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.len() >= NAMES {
            scopes.clear();
        }
        scopes.insert(name.to_ascii_lowercase(), scope);
    }
}

/// Whether one of the environment's proxies has this name.
fn is_proxy(name: &str) -> bool {
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .filter_map(|proxy| Url::parse(&proxy).or_else(|_| Url::parse(&format!("http://{proxy}"))).ok())
        .any(|proxy| proxy.host_str().is_some_and(|host| host.eq_ignore_ascii_case(name)))
}

/// [`Names`] as reqwest wants them.
pub(super) struct Resolver {
    names: Names,
    from: Option<Scope>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, from, name) = (self.names.clone(), self.from, name.as_str().to_owned());
        Box::pin(async move {
            let addresses = tokio::task::spawn_blocking(move || names.addresses(&name, from)).await??;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// A redirect leads where its server must not send us.
#[derive(Debug)]
pub(super) struct Refused {
    name: String,
    from: Scope,
    scope: Scope,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it leads from a {} server to {}, a {} address", self.from, self.name, self.scope)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The refusal behind a failed connection, if that is why it failed.
    pub(super) fn behind(error: &reqwest::Error) -> Option<&Self> {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(refused) = cause.downcast_ref() {
                return Some(refused);
            }
            source = cause.source();
        }
        None
    }
}
