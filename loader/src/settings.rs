//! Where to look and how far to go: the environment, in debuginfod's manner, or set by the caller.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use btf_archive::trust::{Expired, Policy, PublicKey, SeenFile};

use crate::tree::Believed;
use crate::{Address, Error};

/// A bundle in memory, read in place.
#[derive(Clone, Copy)]
pub struct Embedded(pub &'static [u8]);

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bundle of {} bytes", self.0.len())
    }
}

/// Where to look for BTF and how far to go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The archives to ask, in order. Environment: [`Settings::URLS`].
    pub urls: Vec<Address>,
    /// A bundle built into the program (`include_bytes!` of what `btf-minimize bundle` wrote), read in place.
    pub embedded: Option<Embedded>,
    /// Bundles and directories on disk, asked before the cache, in order. A directory holds an archive, or files
    /// `DISTRO/VERSION/ARCH/RELEASE.btf`. Environment: [`Settings::PATH`].
    pub paths: Vec<PathBuf>,
    /// Take only BTF with all of a kernel's types, as programs other than the caller's need it: not what bundles
    /// have, which is minimised.
    pub whole_only: bool,
    /// Root keys: if there are any, only what a signed snapshot of an archive says is believed. The service's own answers
    /// are not asked for then, but its tree of files. Environment: [`Settings::KEYS`].
    pub roots: Vec<PublicKey>,
    /// Take snapshots signed by expired keys, and say so: where no new key can come. Environment:
    /// [`Settings::EXPIRED`], `warn` or `refuse`.
    pub allow_expired: bool,
    /// Where the newest snapshot that was seen of each archive is remembered, so that no older one can be passed off as the
    /// newest; `None` forgets.
    pub seen: Option<SeenFile>,
    /// The directory of the cache; `None` keeps nothing. Environment: [`Settings::CACHE_PATH`].
    pub cache: Option<PathBuf>,
    /// How many bytes of BTF the cache keeps; what was not used for longest goes first. The newest always stays.
    /// Environment: [`Settings::CACHE_SIZE`].
    pub cache_size: u64,
    /// How long it is remembered that an archive does not have a kernel. Environment: [`Settings::MISSES`].
    pub miss_lifetime: Duration,
    /// How long one archive may take for all its answers. Environment: [`Settings::TIMEOUT`].
    pub timeout: Duration,
    /// How long all archives may take together, waiting for another download on this machine included.
    /// Environment: [`Settings::MAX_TIME`].
    pub max_time: Duration,
    /// How often a request that failed for a passing reason is made again, within the time.
    pub retries: u32,
    /// The largest BTF taken, in bytes, downloaded or decompressed or read from a file. Environment:
    /// [`Settings::MAX_SIZE`].
    pub max_size: usize,
    /// Refuse what is matched by name rather than by build-id.
    pub exact_only: bool,
    /// Where the host's `/etc`, `/sys`, `/proc`, `/boot`, `/lib` and `/usr` are: `/`, or in a container the mount of
    /// the host's root. The cache is not below it.
    pub root: PathBuf,
}

impl Default for Settings {
    /// No archive, the default cache of 256 MiB, 30 s an archive and 90 s in all, BTF of up to 64 MiB.
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            cache: default_cache(rustix::process::geteuid().is_root(), |name| env::var_os(name)),
            cache_size: 256 << 20,
            embedded: None,
            paths: Vec::new(),
            roots: Vec::new(),
            allow_expired: false,
            seen: default_seen(rustix::process::geteuid().is_root(), |name| env::var_os(name)),
            whole_only: false,
            miss_lifetime: Duration::from_secs(600),
            timeout: Duration::from_secs(30),
            max_time: Duration::from_secs(90),
            retries: 2,
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
    /// Environment variable: root keys, each minisign's public key (`RWQ…`) or a file with it, separated by spaces.
    pub const KEYS: &str = "BTF_ARCHIVE_KEYS";
    /// Environment variable: what to do about expired keys, `refuse` or `warn`.
    pub const EXPIRED: &str = "BTF_ARCHIVE_EXPIRED";
    /// Environment variable: bundles and directories on disk, separated by colons.
    pub const PATH: &str = "BTF_ARCHIVE_PATH";
    /// Environment variable: how many bytes the cache keeps; `K`, `M` and `G` may follow the number.
    pub const CACHE_SIZE: &str = "BTF_ARCHIVE_CACHE_SIZE";
    /// Environment variable: seconds for which a miss is remembered; 0 for not at all.
    pub const MISSES: &str = "BTF_ARCHIVE_MISSES";
    /// Environment variable: seconds that one archive may take, fractions allowed.
    pub const TIMEOUT: &str = "BTF_ARCHIVE_TIMEOUT";
    /// Environment variable: seconds that all archives may take together, fractions allowed.
    pub const MAX_TIME: &str = "BTF_ARCHIVE_MAXTIME";
    /// Environment variable: the largest BTF taken, in bytes; `K`, `M` and `G` may follow the number.
    pub const MAX_SIZE: &str = "BTF_ARCHIVE_MAXSIZE";

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
        if let Some(paths) = env::var_os(Self::PATH) {
            settings.paths = env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect();
        }
        set(Self::KEYS, Self::parse_roots, &mut settings.roots)?;
        set(Self::EXPIRED, expired, &mut settings.allow_expired)?;
        set(Self::TIMEOUT, Self::parse_timeout, &mut settings.timeout)?;
        set(Self::MAX_TIME, Self::parse_timeout, &mut settings.max_time)?;
        set(Self::MISSES, lifetime, &mut settings.miss_lifetime)?;
        set(Self::CACHE_SIZE, size, &mut settings.cache_size)?;
        set(Self::MAX_SIZE, |text| size(text).and_then(limit), &mut settings.max_size)?;
        Ok(settings)
    }

    /// What is believed of archives; `None` if no root is pinned.
    pub(crate) fn policy(&self) -> Option<Policy> {
        let expired = if self.allow_expired { Expired::Warn } else { Expired::Refuse };
        (!self.roots.is_empty()).then(|| Policy { roots: self.roots.clone(), expired })
    }

    /// The same for the archive at `location`.
    pub(crate) fn believed<'a>(
        &'a self,
        policy: Option<&'a Policy>,
        location: &'a str,
    ) -> Option<Believed<'a>> {
        policy.map(|policy| Believed { policy, seen: self.seen.as_ref(), location })
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

    /// Reads root keys: minisign's public keys, or files with them, separated by white space.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn parse_roots(text: &str) -> Result<Vec<PublicKey>, String> {
        text.split_whitespace().map(|key| PublicKey::load(key).map_err(|error| error.to_string())).collect()
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

/// Puts a variable's value, if it is set, in the place of the default.
fn set<T>(
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    place: &mut T,
) -> Result<(), Error> {
    if let Some(text) = text(name)? {
        let value = || text.escape_debug().to_string();
        *place = parse(&text).map_err(|reason| Error::Setting { name, value: value(), reason })?;
    }
    Ok(())
}

/// Reads what is to be done about expired keys: whether they are let pass.
fn expired(text: &str) -> Result<bool, String> {
    match text.trim() {
        "warn" => Ok(true),
        "refuse" => Ok(false),
        _ => Err("it must be `refuse` or `warn`".to_owned()),
    }
}

/// Reads a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let shift = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let refuse = || "it must be a number of bytes, perhaps with K, M or G".to_owned();
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(refuse)
}

/// The largest BTF that is ever taken is what an archive may hold.
fn limit(size: u64) -> Result<usize, String> {
    let max = btf_archive::blob::MAX_RAW;
    usize::try_from(size)
        .ok()
        .filter(|size| (1..=max).contains(size))
        .ok_or_else(|| format!("it must be above 0 and at most {max}"))
}

/// Reads a time in seconds, 0 included.
fn lifetime(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { Settings::parse_timeout(text) }
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

/// Where what was seen is remembered: what root sees is the machine's.
fn default_seen(root: bool, var: impl Fn(&str) -> Option<OsString>) -> Option<SeenFile> {
    if root { Some(SeenFile::at("/var/lib/btf-archive/seen.json")) } else { SeenFile::of_user(var) }
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

    /// Check which sizes are taken.
    #[test]
    fn settings_size() {
        assert_eq!(size(" 10 "), Ok(10));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        for text in ["", "M", "-1", "1.5M", "99999999999G", "1 MB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(limit(0).is_err() && limit(1 << 40).is_err());
        assert_eq!(lifetime("0"), Ok(Duration::ZERO));
    }

    /// Check that addresses are split at white space and a bad one is told by number, without its text.
    #[test]
    fn settings_urls() {
        assert_eq!(Settings::parse_urls(" http://a  https://b/c\n").unwrap().len(), 2);
        let error = Settings::parse_urls("http://a htp://me:secret@b").unwrap_err().to_string();
        assert!(error.contains("address 2") && !error.contains("secret"), "{error}");
    }
}
