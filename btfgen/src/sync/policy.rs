//! How far a kernel's origin must be verified before an archive may have it: everywhere, or in one distribution, or in one of its suites.

use std::str::FromStr;

use btf_archive::{Key, Trust, alias};

/// The least trust that is accepted. Of all that is said of a kernel, the most particular counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    default: Trust,
    particular: Vec<Particular>,
}

/// What one distribution, or one version or repository of it, must reach.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Particular {
    distro: String,
    suite: Option<String>,
    required: Trust,
}

/// One rule, as it is written: `LEVEL`, `DISTRO=LEVEL` or `DISTRO/SUITE=LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    of: Option<(String, Option<String>)>,
    required: Trust,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (of, level) = text.rsplit_once('=').map_or((None, text), |(of, level)| (Some(of), level));
        let levels = [Trust::None, Trust::Transport, Trust::SignedIndex, Trust::SignedPackage];
        let required = levels.into_iter().find(|known| known.to_string() == level).ok_or_else(|| {
            let all = levels.map(|known| known.to_string()).join(", ");
            format!("`{level}` is no level of trust; there are {all}")
        })?;
        let of = match of
            .map(|of| of.split_once('/').map_or((of, None), |(distro, suite)| (distro, Some(suite))))
        {
            Some(("", _) | (_, Some(""))) => {
                return Err("needs LEVEL, DISTRO=LEVEL or DISTRO/SUITE=LEVEL".to_owned());
            }
            Some((distro, suite)) => Some((alias::distro(distro), suite.map(str::to_owned))),
            None => None,
        };
        Ok(Self { of, required })
    }
}

impl Default for Policy {
    /// Everything is accepted.
    fn default() -> Self {
        Self { default: Trust::None, particular: Vec::new() }
    }
}

impl From<Trust> for Policy {
    /// The same everywhere.
    fn from(default: Trust) -> Self {
        Self { default, ..Self::default() }
    }
}

impl FromIterator<Rule> for Policy {
    /// Of two rules for the same, the later counts.
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        rules.into_iter().fold(Self::default(), |mut policy, Rule { of, required }| {
            match of {
                None => policy.default = required,
                Some((distro, suite)) => policy.particular.push(Particular { distro, suite, required }),
            }
            policy
        })
    }
}

impl Policy {
    /// What a kernel of this repository must reach. A suite is meant by its name (`bookworm-backports`), or by any spelling of its version.
    pub fn of(&self, key: &Key, repository: &str) -> Trust {
        let (distro, version) = (key.distro(), key.version());
        let rank = |rule: &Particular| match &rule.suite {
            _ if rule.distro != distro => None,
            None => Some(1),
            Some(suite) if suite == repository => Some(3),
            // `bookworm-backports` is spelled like the version, but is one suite of it.
            Some(suite) if !suite.contains('-') && alias::version(distro, suite) == version => Some(2),
            Some(_) => None,
        };
        let ranked = self.particular.iter().filter_map(|rule| Some((rank(rule)?, rule.required)));
        ranked.max_by_key(|(rank, _)| *rank).map_or(self.default, |(_, required)| required)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rule, String> {
        text.parse()
    }

    /// Check which rules are understood, and what is said of others.
    #[test]
    fn rules() {
        for text in ["none", "signed-package", "debian=transport", "debian/sid=none", "Oracle/9=signed-index"]
        {
            assert!(rule(text).is_ok(), "{text}");
        }
        for text in ["", "signed", "=none", "debian/=none", "/sid=none", "debian=", "none=debian"] {
            let error = rule(text).unwrap_err();
            assert!(
                error.contains("is no level of trust; there are none") || error.contains("DISTRO"),
                "{error}"
            );
        }
        assert_eq!(rule("Oracle=none").unwrap().of, Some(("ol".to_owned(), None)));
    }

    /// Check that the most particular rule counts: suite, version, distribution, all; and of the same the later.
    #[test]
    fn most_particular() {
        let policy: Policy = [
            "signed-package",
            "signed-index",
            "debian=transport",
            "debian/bookworm=signed-package",
            "debian/bookworm-backports=none",
        ]
        .map(|text| rule(text).unwrap())
        .into_iter()
        .collect();
        let of = |key: &str, repository: &str| policy.of(&key.parse().unwrap(), repository);
        assert_eq!(of("fedora/41/x86_64/6.1", "41"), Trust::SignedIndex);
        assert_eq!(of("debian/13/x86_64/6.1", "trixie"), Trust::Transport);
        assert_eq!(of("debian/12/x86_64/6.1", "bookworm"), Trust::SignedPackage);
        assert_eq!(of("debian/12/x86_64/6.1", "bookworm-security"), Trust::SignedPackage);
        assert_eq!(of("debian/12/x86_64/6.1", "bookworm-backports"), Trust::None);
    }
}
