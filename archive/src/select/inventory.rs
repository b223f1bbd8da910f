//! Inventories: which kernels the hosts of a fleet run.
//!
//! A file of lines, each a build-id or a release (`uname -r`), or of what `btf-fetch status --json` printed on each host, one document behind
//! another; or both. Empty lines and lines that begin with `#` are passed over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::excerpt;
use crate::{BuildId, Error, KernelRecord, Key, Result};

/// The most bytes that an inventory may have: ten thousand hosts with all that `btf-fetch status --json` says.
const MAX_FILE: usize = 64 << 20;

/// Fewer hexadecimal digits could be a release as well.
const MIN_BUILD_ID: usize = 32;

/// The kernels of a fleet, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Host>", into = "Vec<Host>")]
pub struct Inventory {
    hosts: Vec<Host>,
    build_ids: BTreeSet<BuildId>,
    /// Names, and whether a host that did not tell its build-id has it.
    keys: BTreeMap<Key, bool>,
    releases: BTreeMap<(String, Option<String>), bool>,
}

/// What one host, or several with the same kernel, said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Host {
    /// The running kernel's build-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build_id: Option<BuildId>,
    /// `uname -r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// The architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    /// The keys under which an archive may have the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
}

impl Host {
    /// The host for messages: what identifies its kernel best.
    pub fn name(&self) -> String {
        let name = self.keys.first().map(ToString::to_string).or_else(|| self.release.clone());
        match (name, &self.build_id) {
            (Some(name), Some(build_id)) => format!("{name} (build-id {build_id})"),
            (Some(name), None) => name,
            (None, Some(build_id)) => format!("build-id {build_id}"),
            (None, None) => "a kernel without a name".to_owned(),
        }
    }

    /// Under which names it may be found.
    fn names(&self) -> impl Iterator<Item = (String, Option<String>)> + '_ {
        let release = self.release.clone().filter(|_| self.keys.is_empty());
        release.into_iter().map(|release| (release, self.arch.clone()))
    }
}

impl Inventory {
    /// Reads an inventory.
    ///
    /// # Errors
    /// [`Error::Selection`], with the number of the line.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_FILE {
            return Err(wrong(0, "an inventory larger than 64 MiB"));
        }
        let mut hosts = Vec::new();
        let (mut rest, mut number, mut counted) = (text, 1, 0);
        loop {
            rest = rest.trim_start();
            let at = text.len() - rest.len();
            number += text[counted..at].matches('\n').count();
            counted = at;
            if rest.is_empty() {
                return Ok(Self::from(hosts));
            }
            if rest.starts_with('{') {
                let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Host>();
                let host = documents.next().transpose().map_err(|error| wrong(number, error))?;
                hosts.push(told(host.unwrap_or_default()).ok_or_else(|| {
                    wrong(number, "has neither build_id nor release; `btf-fetch status --json` prints them")
                })?);
                rest = &rest[documents.byte_offset()..];
                continue;
            }
            let end = rest.find('\n').unwrap_or(rest.len());
            let line = rest[..end].trim();
            rest = &rest[end..];
            if !line.starts_with('#') {
                let host = of_line(line);
                hosts.push(host.ok_or_else(|| wrong(number, format!("`{}` is no kernel", excerpt(line))))?);
            }
        }
    }

    /// How many different kernels there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether a host has the kernel of this key and build-id. The build-id decides where both know it, else the name.
    pub fn has(&self, key: &Key, build_id: Option<&BuildId>) -> bool {
        if build_id.is_some_and(|build_id| self.build_ids.contains(build_id)) {
            return true;
        }
        let release = |arch: Option<&str>| {
            self.releases.get(&(key.release().to_owned(), arch.map(str::to_owned))).copied()
        };
        let named = [self.keys.get(key).copied(), release(Some(key.arch())), release(None)];
        named.into_iter().flatten().any(|without_build_id| without_build_id || build_id.is_none())
    }

    /// The hosts for whose kernel there is none among these.
    pub fn lacking<'k>(&self, kernels: impl IntoIterator<Item = &'k KernelRecord>) -> Vec<&Host> {
        let mut build_ids = BTreeSet::new();
        let mut keys: HashMap<&Key, Option<BuildId>> = HashMap::new();
        let mut releases: HashMap<&str, Vec<(&str, Option<BuildId>)>> = HashMap::new();
        for kernel in kernels {
            build_ids.extend(kernel.build_id);
            keys.insert(&kernel.key, kernel.build_id);
            releases.entry(kernel.key.release()).or_default().push((kernel.key.arch(), kernel.build_id));
        }
        let there = |host: &&Host| {
            let by_name = |found: Option<BuildId>| host.build_id.is_none() || found.is_none();
            host.build_id.is_some_and(|build_id| build_ids.contains(&build_id))
                || host.keys.iter().any(|key| keys.get(key).is_some_and(|found| by_name(*found)))
                || host.names().any(|(release, arch)| {
                    let found = releases.get(release.as_str()).into_iter().flatten();
                    found
                        .into_iter()
                        .any(|(of, found)| arch.as_deref().is_none_or(|arch| arch == *of) && by_name(*found))
                })
        };
        self.hosts.iter().filter(|host| !there(host)).collect()
    }
}

impl From<Vec<Host>> for Inventory {
    fn from(mut hosts: Vec<Host>) -> Self {
        hosts.sort();
        hosts.dedup();
        let (mut build_ids, mut keys, mut releases) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for host in &hosts {
            build_ids.extend(host.build_id);
            let without = host.build_id.is_none();
            host.keys.iter().for_each(|key| *keys.entry(key.clone()).or_default() |= without);
            host.names().for_each(|name| *releases.entry(name).or_default() |= without);
        }
        Self { hosts, build_ids, keys, releases }
    }
}

impl From<Inventory> for Vec<Host> {
    fn from(inventory: Inventory) -> Self {
        inventory.hosts
    }
}

/// A host, if it told anything by which a kernel can be found.
fn told(host: Host) -> Option<Host> {
    (host.build_id.is_some() || host.release.is_some() || !host.keys.is_empty()).then_some(host)
}

fn of_line(line: &str) -> Option<Host> {
    let is_build_id = line.len() >= MIN_BUILD_ID && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_build_id {
        return Some(Host { build_id: Some(line.parse().ok()?), ..Host::default() });
    }
    if let Ok(key) = line.parse::<Key>() {
        return Some(Host { keys: vec![key], ..Host::default() });
    }
    // What may be a release is what may be in a key.
    let key = Key::new("any", "0", "any", line).ok()?;
    Some(Host { release: Some(key.release().to_owned()), ..Host::default() })
}

fn wrong(line: usize, reason: impl std::fmt::Display) -> Error {
    Error::Selection { reason: format!("inventory, line {line}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Provenance, Source, Trust};

    const A: &str = "aa10123456789abcdef0123456789abcdef01234";
    const B: &str = "bb10123456789abcdef0123456789abcdef01234";
    const C: &str = "cc10123456789abcdef0123456789abcdef01234";

    fn kernel(key: &str, build_id: Option<&str>) -> KernelRecord {
        KernelRecord {
            key: key.parse().unwrap(),
            build_id: build_id.map(|id| id.parse().unwrap()),
            digest: Digest::of(key.as_bytes()),
            raw_size: 1,
            zst_size: 1,
            base: None,
            config: None,
            modules: None,
            provenance: Provenance {
                package: None,
                package_version: None,
                url: None,
                sha256: None,
                trust: Trust::None,
                source: Source::Upload,
                generator: String::new(),
            },
            added: 1,
        }
    }

    /// Check that build-ids, releases, keys and the JSON of hosts are read together, and take the right kernels.
    #[test]
    fn inventory_of_a_fleet() {
        let text = format!(
            "# our fleet\r\n{A}\n\n  5.15.0-100-generic\t\ndebian/bookworm/i386/6.1.0-30-686-pae\n\
             {{\n  \"release\": \"4.18.0-348.el8.x86_64\", \"arch\": \"x86_64\",\n \"build_id\": \"{B}\", \"keys\": \
             [\"centos/8/x86_64/4.18.0-348.el8.x86_64\"], \"places\": [], \"used\": null}}\n\
             {{\"release\": \"6.6.6\", \"arch\": \"arm64\"}}{{\"build_id\": \"{A}\"}}\n7.7.7\n{C}"
        );
        let inventory = Inventory::parse(&text).unwrap();
        assert_eq!(inventory.len(), 7, "two hosts have the same kernel: {inventory:?}");
        let kernels = [
            (kernel("debian/11/x86_64/5.10.0-1-amd64", Some(A)), true),
            (kernel("ubuntu/22.04/arm64/5.15.0-100-generic", Some(C)), true),
            (kernel("debian/12/i386/6.1.0-30-686-pae", Some("01")), true),
            (kernel("centos/8/x86_64/4.18.0-348.el8.x86_64", None), true),
            (kernel("centos/8/x86_64/4.18.0-348.el8.x86_64", Some("02")), false),
            (kernel("any/1/arm64/6.6.6", Some("03")), true),
            (kernel("any/1/x86_64/6.6.6", Some("04")), false),
            (kernel("any/1/x86_64/8.8.8", None), false),
        ];
        for (kernel, wanted) in &kernels {
            assert_eq!(inventory.has(&kernel.key, kernel.build_id.as_ref()), *wanted, "{kernel:?}");
        }
        let lacking =
            inventory.lacking(kernels.iter().filter(|(_, wanted)| *wanted).map(|(kernel, _)| kernel));
        assert_eq!(lacking.iter().map(|host| host.name()).collect::<Vec<_>>(), ["7.7.7"]);
        let none: Vec<KernelRecord> = Vec::new();
        assert_eq!(inventory.lacking(&none).len(), 7);

        let json = serde_json::to_string(&inventory).unwrap();
        assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
    }

    /// Check that what tells no kernel is refused, with its line.
    #[test]
    fn inventory_refuses() {
        for (text, line) in [
            ("5.10.0\n../../etc/passwd\n", 2),
            ("{}", 1),
            ("5.10.0\n\n{\"release\": 5}", 3),
            ("{\"release\": \"1\"", 1),
            ("[]", 1),
            ("5.10 0", 1),
            (&"x".repeat(1000), 1),
        ] {
            let message = Inventory::parse(text).unwrap_err().to_string();
            assert!(message.contains(&format!("line {line}")) && message.len() < 400, "{text}: {message}");
        }
        assert!(Inventory::parse("\n# nothing\n").unwrap().is_empty());
    }
}
