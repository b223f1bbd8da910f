//! Where to look and how far to go: the environment, in debuginfod's manner, or set by the caller.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Address, Error};

/// Where to look for BTF and how far to go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The archives to ask, in order. Environment: [`Settings::URLS`].
    pub urls: Vec<Address>,
    /// The directory of the cache; `None` keeps nothing. Environment: [`Settings::CACHE_PATH`].
    pub cache: Option<PathBuf>,
    /// How long one archive may take for all its answers. Environment: [`Settings::TIMEOUT`].
    pub timeout: Duration,
    /// The largest BTF taken, in bytes, downloaded or decompressed or read from a file.
    pub max_size: usize,
    /// Refuse what is matched by name rather than by build-id.
    pub exact_only: bool,
    /// Where the host's `/etc`, `/sys`, `/proc`, `/boot`, `/lib` and `/usr` are: `/`, or in a container the mount of
    /// the host's root. The cache is not below it.
    pub root: PathBuf,
}

impl Default for Settings {
    /// No archive, the default cache, 30 s, 64 MiB.
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            cache: default_cache(rustix::process::geteuid().is_root(), |name| env::var_os(name)),
            timeout: Duration::from_secs(30),
            max_size: 64 << 20,
            exact_only: false,
            root: PathBuf::from("/"),
        }
    }
}

impl Settings {
    /// Environment variable: addresses of archives, separated by spaces.
    pub const URLS: &str = "BTF_ARCHIVE_URLS";
    /// Environment variable: the cache's directory. Without it: `/var/cache/btf-archive` for root, else
    /// `$XDG_CACHE_HOME/btf-archive` or `$HOME/.cache/btf-archive`.
    pub const CACHE_PATH: &str = "BTF_ARCHIVE_CACHE_PATH";
    /// Environment variable: seconds that one archive may take, fractions allowed.
    pub const TIMEOUT: &str = "BTF_ARCHIVE_TIMEOUT";

    /// The settings of the environment; an empty variable counts as unset.
    ///
    /// # Errors
    /// [`Error::Setting`] for a value that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        let mut settings = Self::default();
        if let Some(urls) = text(Self::URLS)? {
            settings.urls = Self::parse_urls(&urls)?;
        }
        if let Some(path) = env::var_os(Self::CACHE_PATH).filter(|path| !path.is_empty()) {
            settings.cache = Some(path.into());
        }
        if let Some(seconds) = text(Self::TIMEOUT)? {
            settings.timeout = Self::parse_timeout(&seconds).map_err(|reason| Error::Setting {
                name: Self::TIMEOUT,
                value: seconds.escape_debug().to_string(),
                reason,
            })?;
        }
        Ok(settings)
    }

    /// Reads addresses separated by white space.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that is none.
    pub fn parse_urls(text: &str) -> Result<Vec<Address>, Error> {
        let parse = |(number, url): (usize, &str)| {
            // The text is not shown: it may hold a password.
            let refuse = |reason| Error::Setting {
                name: Self::URLS,
                value: format!("address {}", number + 1),
                reason,
            };
            url.parse().map_err(refuse)
        };
        text.split_whitespace().enumerate().map(parse).collect()
    }

    /// Reads a time in seconds, above 0 and up to a day.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_timeout(text: &str) -> Result<Duration, String> {
        let seconds: f64 = text.trim().parse().map_err(|_| "it must be a number of seconds".to_owned())?;
        if seconds > 0.0 && seconds <= 86_400.0 {
            Ok(Duration::from_secs_f64(seconds))
        } else {
            Err("it must be above 0 and at most 86400 seconds".to_owned())
        }
    }
}

/// The value of a variable that is text.
fn text(name: &'static str) -> Result<Option<String>, Error> {
    match env::var(name) {
        Ok(value) if value.trim().is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(value)) => Err(Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            reason: "it is not UTF-8".to_owned(),
        }),
    }
}

/// The cache's place where nothing else is said. A relative path in the environment is no path (as the XDG
/// specification says).
fn default_cache(root: bool, var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/cache/btf-archive"));
    }
    let directory = |name| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = directory("XDG_CACHE_HOME").or_else(|| directory("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("btf-archive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check where the cache is for root, with and without XDG_CACHE_HOME, and without a home.
    #[test]
    fn settings_default_cache() {
        let with = |vars: &'static [(&str, &str)]| {
            move |name: &str| {
                vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            }
        };
        let of = |root, vars| default_cache(root, with(vars));
        assert_eq!(of(true, &[("HOME", "/root")]), Some("/var/cache/btf-archive".into()));
        assert_eq!(of(false, &[("HOME", "/home/a")]), Some("/home/a/.cache/btf-archive".into()));
        assert_eq!(
            of(false, &[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")]),
            Some("/c/btf-archive".into())
        );
        assert_eq!(
            of(false, &[("HOME", "/h"), ("XDG_CACHE_HOME", "c")]),
            Some("/h/.cache/btf-archive".into())
        );
        assert_eq!(of(false, &[]), None);
    }

    /// Check which times are taken.
    #[test]
    fn settings_timeout() {
        assert_eq!(Settings::parse_timeout(" 0.5 "), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "NaN", "inf", "1e300", "10s"] {
            assert!(Settings::parse_timeout(text).is_err(), "{text}");
        }
    }

    /// Check that addresses are split at white space and a bad one is told by number, without its text.
    #[test]
    fn settings_urls() {
        assert_eq!(Settings::parse_urls(" http://a  https://b/c\n").unwrap().len(), 2);
        let error = Settings::parse_urls("http://a htp://me:secret@b").unwrap_err().to_string();
        assert!(error.contains("address 2") && !error.contains("secret"), "{error}");
    }
}
