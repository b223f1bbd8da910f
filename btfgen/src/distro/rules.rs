//! How a package becomes a part of a kernel: rules compiled from a definition, and what they understand of a name.

use regex::Regex;

use crate::repo::indexed::PackageName;
use crate::repo::offer::{Expected, Role};
use crate::repo::version::VersionOrder;

/// The most that a compiled pattern may take, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// What may stand in braces in a rule's `uname`.
pub(super) const VARIABLES: [&str; 6] =
    ["uname", "version", "release", "arch", "flavour", "release_without_counter"];

/// What `{uname}` stands for in a name where the definition does not say it.
pub(super) const UNAME: &str = r"\d+\.\d[A-Za-z0-9._+~-]*?";
/// What `{flavour}` stands for in a name.
const FLAVOUR: &str = r"[A-Za-z0-9][A-Za-z0-9._-]*?";

/// The pattern of a name, in which `{uname}` and `{flavour}` stand for groups of these names.
pub(super) fn name_pattern(name: &str, uname: &str) -> String {
    name.replace("{uname}", &format!("(?<uname>{uname})"))
        .replace("{flavour}", &format!("(?<flavour>{FLAVOUR})"))
}

/// One compiled rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) role: Role,
    pub(super) name: Regex,
    pub(super) version: Option<Regex>,
    pub(super) source: Option<Regex>,
    pub(super) uname: String,
    pub(super) flavour: Option<String>,
}

/// What a package is to a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) role: Role,
    /// What `uname -r` says.
    pub(crate) uname: String,
    pub(crate) flavour: String,
}

/// Compiles a pattern that must match the whole of a text.
pub(super) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_LIMIT).build()
}

impl Rule {
    /// What the package is by this rule.
    pub(super) fn part(&self, package: &PackageName) -> Option<Part> {
        let captures = self.name.captures(&package.name)?;
        if let Some(source) = &self.source {
            // An index that does not say the source leaves the decision to the name.
            if !package.source.as_ref().is_none_or(|name| source.is_match(name)) {
                return None;
            }
        }
        if self.version.as_ref().is_some_and(|version| !version.is_match(&package.full_version())) {
            return None;
        }
        let group = |name: &str| captures.name(name).map(|found| found.as_str().to_owned());
        let flavour = self.flavour.clone().or_else(|| group("flavour"));
        let mut uname = self.uname.clone();
        for variable in VARIABLES {
            let braced = format!("{{{variable}}}");
            if !uname.contains(&braced) {
                continue;
            }
            let value = match variable {
                "version" => package.version.clone(),
                "release" => package.release.clone(),
                "arch" => package.arch.clone(),
                "flavour" => flavour.clone()?,
                "release_without_counter" => package
                    .release
                    .rsplit_once('.')
                    .map_or(&*package.release, |(release, _)| release)
                    .to_owned(),
                captured => group(captured)?,
            };
            uname = uname.replace(&braced, &value);
        }
        // Every kernel's version has at least two numbers: metapackages (`linux-image-686-pae-dbg`) fall here.
        let (major, rest) = uname.split_once('.')?;
        let is_kernel = !major.is_empty()
            && major.bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with(|first: char| first.is_ascii_digit());
        is_kernel.then_some(Part { role: self.role, uname, flavour: flavour.unwrap_or_default() })
    }
}

/// Which kernels carry BTF.
#[derive(Clone, Debug)]
pub(super) struct Embeds {
    pub(super) since: String,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) flavours: Option<Vec<String>>,
}

/// What is to be expected of a kernel: yes by any rule that covers it, no where there are rules and none does.
pub(super) fn expected(rules: &[Embeds], arch: &str, part_flavour: &str, uname: &str) -> Expected {
    if rules.is_empty() {
        return Expected::Unknown;
    }
    let named = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|listed| listed == name))
    };
    let covers = |rule: &Embeds| {
        named(&rule.architectures, arch)
            && named(&rule.flavours, part_flavour)
            && VersionOrder::Rpm.compare(uname, &rule.since).is_ge()
    };
    if rules.iter().any(covers) { Expected::Yes } else { Expected::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, uname: &str) -> Rule {
        Rule {
            role: Role::Debug,
            name: whole(name).unwrap(),
            version: None,
            source: None,
            uname: uname.into(),
            flavour: None,
        }
    }

    fn uname(rule: &Rule, file: &str) -> Option<String> {
        rule.part(&PackageName::of_file(file).unwrap()).map(|part| part.uname)
    }

    /// Check how `uname -r` is made of a package's name, version, release and architecture.
    #[test]
    fn uname_of_a_package() {
        let suse = rule(
            r"kernel-(?<flavour>default|azure)-debuginfo",
            "{version}-{release_without_counter}-{flavour}",
        );
        assert_eq!(
            uname(&suse, "kernel-default-debuginfo-5.3.18-150300.59.93.1.x86_64.rpm").unwrap(),
            "5.3.18-150300.59.93-default"
        );
        let rhel = rule("kernel-(?<flavour>debug)-debuginfo", "{version}-{release}.{arch}+{flavour}");
        assert_eq!(
            uname(&rhel, "kernel-debug-debuginfo-4.18.0-348.el8.aarch64.rpm").unwrap(),
            "4.18.0-348.el8.aarch64+debug"
        );
        assert_eq!(uname(&rhel, "kernel-debuginfo-4.18.0-348.el8.aarch64.rpm"), None);
        assert_eq!(
            uname(&rhel, "kernel-debug-debuginfo-common-4.18.0-348.el8.aarch64.rpm"),
            None,
            "anchored"
        );
        let deb = rule("linux-image-(?<uname>.+)-dbg", "{uname}");
        assert_eq!(uname(&deb, "linux-image-686-pae-dbg_6.1_i386.deb"), None, "a metapackage");
    }

    /// Check that a rule which asks for a source package takes no other, and takes packages whose source is not known.
    #[test]
    fn source_packages() {
        let mut rule = rule("kernel-rt-debuginfo", "{version}-{release}.{arch}");
        rule.source = Some(whole("kernel-rt").unwrap());
        let mut package = PackageName::of_file("kernel-rt-debuginfo-4.18.0-1.el8.x86_64.rpm").unwrap();
        assert!(rule.part(&package).is_some());
        package.source = Some("kernel".into());
        assert!(rule.part(&package).is_none());
    }

    /// Check that the expectation follows version, architecture and flavour, and is open without rules.
    #[test]
    fn expectation() {
        let rules = [
            Embeds { since: "5.10".into(), architectures: Some(vec!["x86_64".into()]), flavours: None },
            Embeds { since: "4.18.0-193".into(), architectures: None, flavours: Some(vec!["rt".into()]) },
        ];
        assert_eq!(expected(&rules, "x86_64", "", "5.10.0-30-amd64"), Expected::Yes);
        assert_eq!(expected(&rules, "x86_64", "", "5.9.16"), Expected::No);
        assert_eq!(expected(&rules, "arm64", "", "6.1.0"), Expected::No);
        assert_eq!(expected(&rules, "arm64", "rt", "4.18.0-348.el8.aarch64"), Expected::Yes);
        assert_eq!(expected(&rules, "arm64", "rt", "4.18.0-80.el8.aarch64"), Expected::No);
        assert_eq!(expected(&[], "arm64", "", "6.1.0"), Expected::Unknown);
    }
}
