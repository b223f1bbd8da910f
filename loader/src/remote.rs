//! Asking one archive, by the HTTP interface of `btf-archive-server`.
//!
//! The build-id is asked for first (`/v1/btf/by-build-id/{hex}`). If the archive does not know it, the kernel's names
//! are: by its key for a kernel that the caller named (`/v1/btf/{distro}/{version}/{arch}/{release}`), by description
//! for the running one (`/v1/lookup`), since os-release is not always the kernel's. An answer by name that carries
//! another build-id is refused.
//!
//! BTF comes as zstd or as it is, always with its digest: `btf-digest: sha256:HEX`, of the raw bytes. What is known
//! about its kernel is in `btf-key` and `btf-build-id`. A 404 is a problem document (RFC 9457) with the `nearest`
//! kernels: a 404 without is not the service's, and the archive is read as a tree of files (`tree`).

use std::str::FromStr;
use std::time::Duration;

use btf_archive::{BuildId, Digest, KernelRecord, Key, alias, blob};
use serde::Deserialize;

use crate::error::Candidate;
use crate::http::{Answer, Client, Deadline};
use crate::local::same_build_id;
use crate::tree::Tree;
use crate::{Address, Kernel, Reason, Settings, check};

/// The largest JSON answer taken, in bytes.
const MAX_JSON: usize = 1 << 20;

/// BTF that an archive gave, checked.
#[derive(Debug)]
pub(crate) struct Download {
    /// The raw BTF.
    pub(crate) raw: Vec<u8>,
    /// Its digest.
    pub(crate) digest: Digest,
    /// The key of its kernel, where the archive told.
    pub(crate) key: Option<Key>,
    /// The build-id of its kernel, where the archive told or was asked by it.
    pub(crate) build_id: Option<BuildId>,
    /// What the caller should know all the same.
    pub(crate) warning: Option<String>,
}

/// Asks `archive` for the BTF of `kernel`. All archives together have `left`.
pub(crate) fn fetch(
    client: &Client,
    archive: &Address,
    kernel: &Kernel,
    settings: &Settings,
    left: Duration,
) -> Result<Download, Reason> {
    let deadline = Deadline::new(settings.timeout.min(left));
    let request = Request { client, archive, kernel, max_size: settings.max_size, deadline };
    let download = if settings.roots.is_empty() {
        match request.run(settings.exact_only) {
            Err(Reason::NotTheService) => request.tree(settings)?,
            answer => answer?,
        }
    } else {
        // The service vouches for its answers with nothing but its word; the snapshot is signed.
        request.tree(settings)?
    };
    check::kernel_btf(&download.raw, kernel)?;
    Ok(download)
}

/// Asks `archive` for something by its tree of files, which the service has too.
pub(crate) fn in_tree<T>(
    client: &Client,
    archive: &Address,
    settings: &Settings,
    ask: &dyn Fn(&Tree<'_>) -> Result<T, Reason>,
) -> Result<T, Reason> {
    let deadline = Deadline::new(settings.timeout);
    let get = |path: &str, max: usize| get_file(client, archive, &deadline, path, max);
    let (location, policy) = (archive.to_string(), settings.policy());
    ask(&Tree::open(&get, settings.believed(policy.as_ref(), &location))?.ok_or(Reason::NotTheService)?)
}

/// One file of an archive's tree; `None` if there is no such file.
fn get_file(
    client: &Client,
    archive: &Address,
    deadline: &Deadline,
    path: &str,
    max: usize,
) -> Result<Option<Vec<u8>>, Reason> {
    let answer = client.get(archive, path, "identity", max, deadline)?;
    match answer.status.as_u16() {
        200 => Ok(Some(answer.body)),
        404 | 410 => Ok(None),
        _ => Err(refusal(&answer)),
    }
}

struct Request<'a> {
    client: &'a Client,
    archive: &'a Address,
    kernel: &'a Kernel,
    max_size: usize,
    deadline: Deadline,
}

/// The answer of `/v1/lookup`: the best match.
#[derive(Deserialize)]
struct Lookup {
    kernel: Matched,
}

#[derive(Deserialize)]
struct Matched {
    key: Key,
    build_id: Option<BuildId>,
}

/// The answer of `/v1/lookup` when several match.
#[derive(Deserialize)]
struct Several {
    candidates: Vec<Candidate>,
}

/// The part of a 404's problem document that matters.
#[derive(Deserialize)]
struct Unknown {
    nearest: Vec<Candidate>,
}

impl Request<'_> {
    fn run(&self, exact_only: bool) -> Result<Download, Reason> {
        let mut missing = Reason::NotInArchive { nearest: Vec::new(), remembered: false };
        if let Some(build_id) = self.kernel.build_id() {
            match self.btf(&format!("v1/btf/by-build-id/{build_id}")) {
                Ok(download) => return Ok(Download { build_id: Some(*build_id), ..download }),
                Err(reason @ Reason::NotInArchive { .. }) => missing = reason,
                Err(reason) => return Err(reason),
            }
        }
        if exact_only {
            return Err(if self.kernel.build_id().is_some() { missing } else { Reason::NotExact });
        }
        let named = if self.kernel.is_running() { self.look_up() } else { self.by_key() };
        match named {
            // The nearest to a build-id are none: what the names came close to says more.
            Some(Err(Reason::NotInArchive { nearest, .. })) if nearest.is_empty() => Err(missing),
            Some(result) => result,
            None => Err(missing),
        }
    }

    /// Out of the tree of files, which is all that a plain web server has.
    fn tree(&self, settings: &Settings) -> Result<Download, Reason> {
        let get = |path: &str, max: usize| get_file(self.client, self.archive, &self.deadline, path, max);
        let location = self.archive.to_string();
        let policy = settings.policy();
        let tree = Tree::open(&get, settings.believed(policy.as_ref(), &location))?;
        let tree = tree.ok_or(Reason::NotTheService)?;
        let KernelRecord { digest, key, build_id, .. } = tree.record(self.kernel)?;
        let raw = tree.blob(&digest, self.max_size)?;
        Ok(Download { raw, digest, key: Some(key), build_id, warning: tree.warning })
    }

    /// By the keys of a kernel that does not run here.
    fn by_key(&self) -> Option<Result<Download, Reason>> {
        let mut last = None;
        for key in self.kernel.keys() {
            match self.btf_of(key) {
                Err(reason @ Reason::NotInArchive { .. }) => last = Some(Err(reason)),
                answer => return Some(answer),
            }
        }
        last
    }

    /// By what the running kernel and os-release say.
    fn look_up(&self) -> Option<Result<Download, Reason>> {
        let release = self.kernel.release()?;
        let mut last = None;
        for key in self.kernel.keys() {
            let description =
                format!("&os_id={}&os_version={}", escaped(key.distro()), escaped(key.version()));
            match self.matched(release, &description) {
                Ok(key) => return Some(self.btf_of(&key)),
                Err(reason @ Reason::NotInArchive { .. }) => last = Some(Err(reason)),
                Err(reason) => return Some(Err(reason)),
            }
        }
        if self.kernel.keys().is_empty() {
            return Some(self.matched(release, "").and_then(|key| self.btf_of(&key)));
        }
        last
    }

    /// The key of the kernel that matches a description best.
    fn matched(&self, release: &str, description: &str) -> Result<Key, Reason> {
        let arch = self.kernel.arch().map(|arch| format!("&arch={}", escaped(arch))).unwrap_or_default();
        let path = format!("v1/lookup?release={}{arch}{description}", escaped(release));
        let answer = self.client.get(self.archive, &path, "identity", MAX_JSON, &self.deadline)?;
        match answer.status.as_u16() {
            200 => {
                let Lookup { kernel } = json(&answer)?;
                if let (Some(expected), Some(found)) = (self.kernel.build_id(), &kernel.build_id) {
                    same_build_id(expected, found)?;
                }
                Ok(kernel.key)
            }
            300 => {
                let Several { candidates } = json(&answer)?;
                Err(Reason::Ambiguous { candidates })
            }
            _ => Err(refusal(&answer)),
        }
    }

    fn btf_of(&self, key: &Key) -> Result<Download, Reason> {
        let download = self.btf(&format!("v1/btf/{key}"))?;
        match &download.key {
            Some(found) if !same_key(key, found) => {
                let (expected, found) = (key.to_string(), found.to_string());
                Err(Reason::WrongKernel { what: "key", expected, found })
            }
            Some(_) => Ok(download),
            None => Ok(Download { key: Some(key.clone()), ..download }),
        }
    }

    /// The BTF at a path, its digest checked, and its build-id where both are known.
    fn btf(&self, path: &str) -> Result<Download, Reason> {
        let answer = self.client.get(self.archive, path, "zstd", self.max_size, &self.deadline)?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        let expected = digest(&answer)?;
        let build_id: Option<BuildId> = parsed(&answer, "btf-build-id")?;
        if let (Some(expected), Some(found)) = (self.kernel.build_id(), &build_id) {
            same_build_id(expected, found)?;
        }
        let key = parsed(&answer, "btf-key")?;
        let raw = match answer.header("content-encoding") {
            Some("zstd") => blob::decompress(&answer.body, self.max_size)?,
            None | Some("identity") => answer.body,
            Some(other) => {
                return Err(Reason::BadAnswer(format!("unknown content coding {}", other.escape_debug())));
            }
        };
        expected.check(&raw)?;
        Ok(Download { raw, digest: expected, key, build_id, warning: None })
    }
}

/// Whether two keys name the same kernel, which SUSE's may do with different releases.
fn same_key(a: &Key, b: &Key) -> bool {
    let place = |key: &Key| (key.distro().to_owned(), key.version().to_owned(), key.arch().to_owned());
    place(a) == place(b) && alias::same_release(a.distro(), a.release(), b.release())
}

/// The digest that the archive promises; without one nothing can be verified.
fn digest(answer: &Answer) -> Result<Digest, Reason> {
    let value = answer
        .header("btf-digest")
        .ok_or_else(|| Reason::BadAnswer("it has no btf-digest header".to_owned()))?;
    value
        .strip_prefix("sha256:")
        .and_then(|hex| hex.parse().ok())
        .ok_or_else(|| Reason::BadAnswer("its btf-digest header is not sha256:HEX".to_owned()))
}

/// A header that may be missing, but not malformed.
fn parsed<T: FromStr>(answer: &Answer, name: &str) -> Result<Option<T>, Reason>
where
    T::Err: std::fmt::Display,
{
    let malformed = |error| Reason::BadAnswer(format!("its {name} header: {error}"));
    answer.header(name).map(|value| value.parse().map_err(malformed)).transpose()
}

fn json<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Reason> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Reason::BadAnswer(format!("malformed JSON: {error}")))
}

/// What an answer without BTF means.
fn refusal(answer: &Answer) -> Reason {
    let status = answer.status;
    match status.as_u16() {
        404 => match json(answer) {
            Ok(Unknown { nearest }) => Reason::NotInArchive { nearest, remembered: false },
            Err(_) => Reason::NotTheService,
        },
        429 | 500.. => Reason::Unreachable(format!("status {status}")),
        _ => Reason::BadAnswer(format!("status {status}")),
    }
}

/// Text as a parameter's value in a URL.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}
