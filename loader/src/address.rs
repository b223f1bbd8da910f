//! The address of an archive.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An archive's address: `http://` or `https://`, a host, perhaps a path. It holds no user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Whether requests to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The address of something in the archive; `path` starts without a slash.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }
}

impl FromStr for Address {
    /// What is wrong with the address.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it must start with https:// or http://")?;
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "http" => {}
            "https" if cfg!(feature = "tls") => {}
            "https" => return Err("this program was built without TLS".to_owned()),
            _ => return Err(format!("the scheme must be https or http, not {}", scheme.escape_debug())),
        }
        let text = format!("{scheme}://{}", rest.trim_end_matches('/'));
        let uri: ureq::http::Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err("it has no host".to_owned());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a user and password are not supported".to_owned());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("it must not have a query or fragment".to_owned());
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that paths are joined with one slash, whatever the address ends with.
    #[test]
    fn address_join() {
        for text in ["http://host:1/btf", "HTTP://host:1/btf//"] {
            assert_eq!(text.parse::<Address>().unwrap().join("v1/x"), "http://host:1/btf/v1/x");
        }
    }

    /// Check that text that is no address of an archive is refused.
    #[test]
    fn address_refuses_other_text() {
        for text in [
            "",
            "host",
            "ftp://host",
            "http://",
            "http:///path",
            "http://host/?q",
            "http://a b",
            "file:///x",
            "http://me:pw@a",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
