//! What an archive knows about one kernel.

use serde::{Deserialize, Serialize};

use crate::{BuildId, Digest, Key};

/// What an archive knows about one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// Its name.
    pub key: Key,
    /// Its GNU build-id, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// The digest of its raw BTF, by which the blob is found.
    pub digest: Digest,
    /// The size of the raw BTF in bytes.
    pub raw_size: u64,
    /// The size of the blob as stored in bytes.
    pub zst_size: u64,
    /// The digest of the blob on which this one is stored as a delta; none for a whole one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// The digest of its configuration (`/boot/config-RELEASE`), by which that blob is found; none where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// The digest of its modules' split BTF, in one blob ([`crate::modules`]); none where they were not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Digest>,
    /// Where the BTF came from.
    pub provenance: Provenance,
    /// When it entered the archive, in seconds since 1970 (UTC).
    pub added: u64,
}

impl KernelRecord {
    /// The digests of every blob that the record names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        let Self { digest, base, config, modules, .. } = self;
        std::iter::once(*digest).chain([base, config, modules].into_iter().flatten().copied())
    }
}

/// Where a kernel's BTF came from and how far that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The package's name; none for an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_version: Option<String>,
    /// Where the package was fetched, without credentials ([`Provenance::public_url`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sha256 of the whole package, where it was wholly read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// How the package was verified.
    pub trust: Trust,
    /// What the BTF was made of.
    pub source: Source,
    /// The program that made it, with its version: `btfgen 0.1.0`.
    pub generator: String,
}

impl Provenance {
    /// A URL without what may be a secret in it: user, password, query and fragment.
    pub fn public_url(url: &str) -> String {
        let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }
}

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The name in JSON, the catalog and messages.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

text_enum! {
    /// How far the origin of a package was verified. Orders from the weakest to the strongest.
    Trust {
        /// Not at all: a local file or an upload.
        None = "none",
        /// Fetched over an authenticated channel (TLS) and no more.
        Transport = "transport",
        /// Named by a signed index; the bytes read were not enough to check the package's hash.
        SignedIndex = "signed-index",
        /// Read wholly, and its hash is that of a signed index, or it carries a good signature of its own.
        SignedPackage = "signed-package",
    }
}

text_enum! {
    /// What BTF was made of.
    Source {
        /// The kernel's own `.BTF` section.
        Embedded = "embedded",
        /// Converted from DWARF.
        Dwarf = "dwarf",
        /// Handed in by a person.
        Upload = "upload",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that nothing that may be secret stays in a URL.
    #[test]
    fn record_public_url() {
        for (url, public) in [
            ("https://user:p%40ss@mirror.example/a/b.deb", "https://mirror.example/a/b.deb"),
            ("https://mirror.example/a@b/c.deb", "https://mirror.example/a@b/c.deb"),
            ("https://mirror.example:8443/c.rpm?token=secret#part", "https://mirror.example:8443/c.rpm"),
            ("https://a@b@mirror.example?x", "https://mirror.example"),
            ("file:///srv/c.deb", "file:///srv/c.deb"),
            ("packages/c.deb", "packages/c.deb"),
        ] {
            assert_eq!(Provenance::public_url(url), public);
            assert_eq!(Provenance::public_url(public), public);
        }
    }

    /// Check that the names of trust and source are the same in JSON and in text, and that trust orders by strength.
    #[test]
    fn record_names() {
        for trust in [Trust::None, Trust::Transport, Trust::SignedIndex, Trust::SignedPackage] {
            assert_eq!(serde_json::to_string(&trust).unwrap(), format!("\"{trust}\""));
            assert_eq!(Trust::from_name(trust.as_str()), Some(trust));
        }
        for source in [Source::Embedded, Source::Dwarf, Source::Upload] {
            assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{source}\""));
            assert_eq!(Source::from_name(source.as_str()), Some(source));
        }
        assert!(Trust::SignedPackage > Trust::SignedIndex && Trust::Transport > Trust::None);
    }
}
