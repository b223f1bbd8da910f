//! From definitions to a distribution: patterns are compiled, names and addresses checked, examples tried.
//!
//! Nothing stops at the first thing that is wrong: whoever writes a definition wants to hear all of it.

use btf_archive::{Key, alias};
use toml::Spanned;
use url::Url;

use super::definition::{self, Kind, PackageRule};
use super::keys::PinnedKeys;
use super::read::Source;
use super::rules::{Embeds, Rule, UNAME, VARIABLES, name_pattern, whole};
use super::{Distro, Problem, Release, Repository};
use crate::repo::indexed::PackageName;
use crate::repo::version::VersionOrder;

/// Compiles the definitions of one id: the first, and those that add releases to it.
pub(super) fn distro(id: &str, sources: &[Source]) -> Result<Distro, Vec<Problem>> {
    let first = &sources[0];
    let mut check = Check { source: first, problems: Vec::new() };
    let own = &first.definition;
    let id_at = own.id.span().start;
    if alias::distro(id) != id || Key::new(id, "1", "x86_64", "1.0").is_err() {
        let canonical = alias::distro(id);
        check.fail(
            id_at,
            format!("id `{id}` is not os-release's ID in canonical spelling; write `{canonical}`"),
        );
    }
    let packaging = own.packaging.unwrap_or(VersionOrder::Rpm);
    if own.packaging.is_none() {
        check.fail(
            id_at,
            "`packaging` is missing: \"deb\" or \"rpm\"; or take it from another distribution with `like`",
        );
    }
    let architectures = check.architectures();
    let rules: Vec<Rule> =
        own.packages.iter().flatten().filter_map(|rule| check.rule(rule, packaging)).collect();
    if own.packages.as_ref().is_none_or(Vec::is_empty) {
        check.fail(id_at, "`packages` is missing: which packages hold kernels; or take it from another distribution with `like`");
    }
    let mut distro = Distro {
        id: id.to_owned(),
        name: own.name.clone().unwrap_or_else(|| id.to_owned()),
        packaging,
        architectures,
        places: own.places.clone().unwrap_or_default(),
        releases: Vec::new(),
        client_certificate: own.client_certificate.clone(),
        shipped: sources.iter().all(|source| source.shipped),
        rules,
        embeds: own.btf.iter().flatten().map(embeds).collect(),
        examples: 0,
    };
    check.places(&distro);
    let mut problems = check.problems;
    for source in sources {
        let mut check = Check { source, problems: Vec::new() };
        if source.definition.releases.is_empty() {
            check.fail(
                source.definition.id.span().start,
                "`releases` is missing: there must be at least one version",
            );
        }
        for release in &source.definition.releases {
            check.release(&mut distro, release);
        }
        check.examples(&distro);
        distro.examples += source.definition.examples.len();
        problems.extend(check.problems);
    }
    if problems.is_empty() { Ok(distro) } else { Err(problems) }
}

fn embeds(rule: &definition::BtfRule) -> Embeds {
    Embeds {
        since: rule.since.clone(),
        architectures: rule.architectures.clone(),
        flavours: rule.flavours.clone(),
    }
}

/// One definition being checked.
struct Check<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Records a problem at a byte of the file.
    fn fail(&mut self, at: usize, message: impl Into<String>) {
        self.problems.push(self.source.problem(at, message));
    }

    fn architectures(&mut self) -> Vec<(String, String)> {
        let own = &self.source.definition;
        let Some(architectures) = &own.architectures else {
            self.fail(own.id.span().start, "`architectures` is missing: such as { x86_64 = \"amd64\" }");
            return Vec::new();
        };
        let at = architectures.span().start;
        let mut out = Vec::new();
        for (key, index) in architectures.get_ref() {
            let canonical = alias::arch(key);
            if canonical != *key {
                self.fail(at, format!("architecture `{key}` is called `{canonical}` in keys"));
            }
            if alias::arch(index) != canonical
                && !matches!((canonical.as_str(), index.as_str()), ("ppc64", _))
            {
                self.fail(
                    at,
                    format!("architecture `{key}` cannot be called `{index}`: that is another one"),
                );
            }
            out.push((key.clone(), index.clone()));
        }
        out
    }

    fn rule(&mut self, rule: &PackageRule, packaging: VersionOrder) -> Option<Rule> {
        let uname = self.source.definition.uname.as_ref().map_or(UNAME, |uname| uname.get_ref().as_str());
        let mut pattern = |text: &Spanned<String>| match whole(&name_pattern(text.get_ref(), uname)) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                // The library's message draws the pattern over several lines; its last line says what is wrong.
                let told = error.to_string();
                let reason = told.lines().last().unwrap_or_default().trim();
                self.fail(text.span().start, format!("the pattern `{}` is wrong: {reason}", text.get_ref()));
                None
            }
        };
        let name = pattern(&rule.name);
        let version = rule.version.as_ref().map(&mut pattern);
        let source = rule.source.as_ref().map(&mut pattern);
        let default = match packaging {
            VersionOrder::Deb => "{uname}",
            VersionOrder::Rpm => "{version}-{release}.{arch}",
        };
        let uname = rule.uname.as_ref().map_or(default, |uname| uname.get_ref().as_str());
        let at = rule.uname.as_ref().unwrap_or(&rule.name).span().start;
        for variable in uname.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default()) {
            let named =
                name.as_ref().is_some_and(|name| name.capture_names().flatten().any(|own| own == variable));
            if !VARIABLES.contains(&variable) {
                self.fail(
                    at,
                    format!("`{{{variable}}}` means nothing here; there are {}", VARIABLES.join(", ")),
                );
            } else if variable == "uname" && !named {
                self.fail(
                    at,
                    "the name has no {uname} or group (?<uname>…), which says what `uname -r` prints",
                );
            } else if variable == "flavour" && !named && rule.flavour.is_none() {
                self.fail(at, "the name has no {flavour} or group (?<flavour>…), and there is no `flavour`");
            }
        }
        // What was given and does not compile has been reported: there is no rule then.
        let (version, source) = (
            version.map_or(Some(None), |given| given.map(Some))?,
            source.map_or(Some(None), |given| given.map(Some))?,
        );
        let (uname, flavour) = (uname.to_owned(), rule.flavour.clone());
        Some(Rule { role: rule.role, name: name?, version, source, uname, flavour })
    }

    fn places(&mut self, distro: &Distro) {
        let at = self.source.definition.id.span().start;
        let places = &distro.places;
        for (name, paths) in [
            ("vmlinux", &places.vmlinux),
            ("image", &places.image),
            ("modules", &places.modules),
            ("config", &places.config),
        ] {
            for path in paths {
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    self.fail(at, format!("places.{name}: `{path}` must be a path inside the package, without a leading / and without .."));
                } else if !path.contains("{release}") {
                    self.fail(at, format!("places.{name}: `{path}` has no {{release}}, so that kernels could not be told apart"));
                }
            }
        }
    }

    fn release(&mut self, distro: &mut Distro, release: &definition::Release) {
        let at = release.versions.span().start;
        if release.versions.get_ref().is_empty() {
            self.fail(at, "`versions` is empty: name at least one VERSION_ID of os-release");
        }
        let keys = release.keys.as_ref().or(self.source.definition.keys.as_ref());
        for version in release.versions.get_ref() {
            if let Err(error) = Key::new(&distro.id, version, "x86_64", "1.0") {
                self.fail(at, error.to_string());
                continue;
            }
            let mut repositories = Vec::new();
            for repository in &release.repositories {
                repositories.extend(self.repository(distro, version, repository, keys));
            }
            if release.repositories.is_empty() {
                self.fail(at, format!("version {version} has no repository"));
            }
            let same = distro.releases.iter_mut().find(|known| known.version == *version);
            if let Some(known) = same {
                known.repositories.extend(repositories);
            } else {
                let names = release.names.clone();
                distro.releases.push(Release { version: version.clone(), names, repositories });
            }
        }
    }

    fn repository(
        &mut self,
        distro: &Distro,
        version: &str,
        spanned: &Spanned<definition::Repository>,
        keys: Option<&definition::Keys>,
    ) -> Option<Repository> {
        let (at, own) = (spanned.span().start, spanned.get_ref());
        let problems_before = self.problems.len();
        let kind = own.kind.unwrap_or(match distro.packaging {
            VersionOrder::Deb => Kind::Deb,
            VersionOrder::Rpm => Kind::Repomd,
        });
        let addresses: Vec<String> = own
            .url
            .iter()
            .chain(&own.mirrors)
            .filter_map(|url| self.address(at, &url.replace("{version}", version)))
            .collect();
        let mut needs = |given: bool, only: &[Kind], key: &str| {
            if given && !only.contains(&kind) {
                self.fail(at, format!("`{key}` has no meaning for a repository of kind `{}`", kind.as_str()));
            }
        };
        needs(own.suite.is_some(), &[Kind::Deb], "suite");
        needs(own.components.is_some(), &[Kind::Deb], "components");
        needs(own.apt, &[Kind::Deb], "apt");
        needs(own.path.is_some(), &[Kind::Directory], "path");
        needs(!own.sources.is_empty(), &[Kind::Snapshot], "sources");
        needs(!own.kernels.is_empty(), &[Kind::Debuginfod], "kernels");
        let missing = match kind {
            Kind::Deb if own.suite.is_none() => Some("suite"),
            Kind::Directory if own.path.is_none() => Some("path"),
            Kind::Snapshot if own.sources.is_empty() => Some("sources"),
            Kind::Debuginfod if own.kernels.is_empty() => Some("kernels"),
            Kind::Directory => None,
            _ if own.url.is_none() && !own.apt => Some("url"),
            _ => None,
        };
        if let Some(key) = missing {
            self.fail(at, format!("a repository of kind `{}` needs `{key}`", kind.as_str()));
        }
        for arch in own.architectures.iter().flatten().chain(own.kernels.iter().map(|kernel| &kernel.arch)) {
            if !distro.architectures.iter().any(|(known, _)| known == arch) {
                self.fail(at, format!("architecture `{arch}` is none of the distribution's"));
            }
        }
        for kernel in &own.kernels {
            if let Err(error) = kernel.build_id.parse::<btf_archive::BuildId>() {
                self.fail(at, format!("build_id of {}: {error}", kernel.uname));
            }
            if let Err(error) = Key::new(&distro.id, version, &kernel.arch, &kernel.uname) {
                self.fail(at, error.to_string());
            }
        }
        let only = match own.only.as_deref().map(whole).transpose() {
            Ok(only) => only,
            Err(error) => {
                let told = error.to_string();
                self.fail(at, format!("`only` is wrong: {}", told.lines().last().unwrap_or_default().trim()));
                None
            }
        };
        let index_keys = own.keys.as_ref().or(keys.and_then(|keys| keys.index.as_ref()));
        let index_keys = index_keys.and_then(|set| self.keys(set, version));
        let package_keys = keys.and_then(|keys| keys.packages.as_ref());
        let package_keys = package_keys.and_then(|set| self.keys(set, version));
        let suite = own.suite.as_ref().and_then(|suite| self.named(at, distro, version, suite));
        let name = own.name.as_ref().and_then(|name| self.named(at, distro, version, name));
        let name = name.or_else(|| suite.clone()).or_else(|| addresses.first().cloned());
        (self.problems.len() == problems_before).then(|| Repository {
            kind,
            name: name.unwrap_or_else(|| kind.as_str().to_owned()),
            addresses,
            apt: own.apt,
            suite,
            components: own.components.clone().unwrap_or_else(|| vec!["main".into()]),
            path: own.path.as_ref().map(|path| self.source.beside(path)),
            sources: own.sources.clone(),
            kernels: own.kernels.clone(),
            architectures: own.architectures.clone(),
            index_keys,
            package_keys,
            only,
        })
    }

    /// A text in which `{version}` and `{codename}` are replaced.
    fn named(&mut self, at: usize, distro: &Distro, version: &str, text: &str) -> Option<String> {
        let text = text.replace("{version}", version);
        if !text.contains("{codename}") {
            return Some(text);
        }
        match alias::version_spellings(&distro.id, version).get(1) {
            Some(codename) => Some(text.replace("{codename}", codename)),
            None => {
                self.fail(at, format!("version {version} has no {{codename}} that is known; write it out"));
                None
            }
        }
    }

    fn address(&mut self, at: usize, address: &str) -> Option<String> {
        let tried = address.replace("{arch}", "x86_64");
        if tried.contains(['{', '}']) {
            self.fail(at, format!("{address}: only {{version}} and {{arch}} are replaced in an address"));
            return None;
        }
        match Url::parse(&tried) {
            Ok(url) if matches!(url.scheme(), "http" | "https" | "file") => Some(address.to_owned()),
            Ok(url) => {
                self.fail(
                    at,
                    format!(
                        "{address}: {} is no scheme for a repository; use https, http or file",
                        url.scheme()
                    ),
                );
                None
            }
            Err(error) => {
                self.fail(at, format!("{address}: {error}"));
                None
            }
        }
    }

    fn keys(&mut self, set: &definition::KeySet, version: &str) -> Option<PinnedKeys> {
        let mut fingerprints = Vec::new();
        for fingerprint in &set.fingerprints {
            let digits: String = fingerprint.get_ref().split_ascii_whitespace().collect();
            if !matches!(digits.len(), 40 | 64) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                self.fail(
                    fingerprint.span().start,
                    format!("`{}` is no fingerprint: 40 or 64 hexadecimal digits", fingerprint.get_ref()),
                );
                return None;
            }
            fingerprints.push(digits.to_ascii_uppercase());
        }
        let files = set.files.iter().map(|file| {
            let named = file.to_string_lossy().replace("{version}", version);
            self.source.beside(std::path::Path::new(&named))
        });
        Some(PinnedKeys { files: files.collect(), fingerprints })
    }

    /// Tries the definition on the packages that it gives as examples.
    fn examples(&mut self, distro: &Distro) {
        for example in &self.source.definition.examples {
            let (at, file) = (example.package.span().start, example.package.get_ref());
            let Some(mut name) = PackageName::of_file(file) else {
                self.fail(at, format!("{file}: not the file name of a package"));
                continue;
            };
            name.source.clone_from(&example.source);
            let part = distro.part(&name);
            let Some(uname) = &example.uname else {
                if let Some(part) = part {
                    self.fail(
                        at,
                        format!(
                            "{file}: should be no part of a kernel, but is taken for {} of {}",
                            part.role, part.uname
                        ),
                    );
                }
                continue;
            };
            let Some(part) = part else {
                self.fail(at, format!("{file}: no rule of `packages` knows it"));
                continue;
            };
            let mut differs = |what: &str, found: &str, wanted: &str| {
                if found != wanted {
                    self.fail(at, format!("{file}: its {what} comes out as `{found}`, not `{wanted}`"));
                }
            };
            differs("uname", &part.uname, uname);
            if let Some(role) = example.role {
                differs("role", part.role.as_str(), role.as_str());
            }
            if let Some(flavour) = &example.flavour {
                differs("flavour", &part.flavour, flavour);
            }
            if distro.index_arch(&name.arch).is_none() {
                self.fail(at, format!("{file}: its architecture is none of the distribution's"));
            }
        }
    }
}
