//! Which kernels are meant: expressions that people write.
//!
//! Clauses are separated by commas, and a kernel is meant when it fits one of them. A clause is words, and a kernel fits when it fits every word: a distribution, alone or with
//! a comparison of its version (`debian>=11`, `ubuntu`), a version (`18.04`), an architecture in any spelling (`x86_64`, `amd64`), a comparison of the kernel's release
//! (`release>=5.10`), a flavour (`generic`, `cloud`): a word of the release. `*` fits every distribution.

use std::fmt;
use std::str::FromStr;

use btf_archive::{Key, alias, order};

/// An expression.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    clauses: Vec<Clause>,
}

/// One of an expression's alternatives.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    text: String,
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
enum Word {
    Distro { name: String, version: Option<(Comparison, String)> },
    Version(String),
    Arch(String),
    Release(Comparison, String),
    Flavour(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Comparison {
    fn holds(self, left: &str, right: &str) -> bool {
        // `5.10` is older than `5.10.0-8`, and yet meant by it: what is longer agrees when it begins with it.
        let begins =
            left.strip_prefix(right).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        let (left, right) = (order(left), order(right));
        match self {
            Comparison::Less => left < right && !begins,
            Comparison::AtMost => left <= right || begins,
            Comparison::Equal => left == right || begins,
            Comparison::AtLeast => left >= right || begins,
            Comparison::More => left > right && !begins,
        }
    }
}

/// What an expression cannot be.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; for example: debian>=11 x86_64, ubuntu 18.04 generic, release>=5.4", self.0)
    }
}

impl std::error::Error for Wrong {}

impl FromStr for Selection {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let clauses: Vec<Clause> = text
            .split(',')
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .map(Clause::parse)
            .collect::<Result<_, _>>()?;
        if clauses.is_empty() {
            return Err(Wrong("there is nothing in it".to_owned()));
        }
        Ok(Selection { clauses })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clauses: Vec<_> = self.clauses.iter().map(|clause| clause.text.as_str()).collect();
        f.write_str(&clauses.join(", "))
    }
}

impl Selection {
    /// Whether it means this kernel.
    pub(crate) fn means(&self, key: &Key) -> bool {
        self.clauses.iter().any(|clause| clause.means(key))
    }

    /// The clauses that mean none of these kernels, as they were written.
    pub(crate) fn idle<'s>(&'s self, keys: &[&Key]) -> Vec<&'s str> {
        let idle = |clause: &&Clause| !keys.iter().any(|key| clause.means(key));
        self.clauses.iter().filter(idle).map(|clause| clause.text.as_str()).collect()
    }
}

impl Clause {
    fn parse(text: &str) -> Result<Clause, Wrong> {
        let words = text.split_ascii_whitespace().enumerate().map(|(at, word)| Word::parse(word, at == 0));
        Ok(Clause { text: text.to_owned(), words: words.collect::<Result<_, _>>()? })
    }

    fn means(&self, key: &Key) -> bool {
        self.words.iter().all(|word| match word {
            Word::Distro { name, version } => {
                let known = name == "*" || alias::distro(name) == key.distro();
                known
                    && version.as_ref().is_none_or(|(comparison, version)| {
                        comparison.holds(key.version(), &alias::version(key.distro(), version))
                    })
            }
            Word::Version(version) => {
                Comparison::Equal.holds(key.version(), &alias::version(key.distro(), version))
            }
            Word::Arch(arch) => alias::arch(arch) == key.arch(),
            Word::Release(comparison, release) => comparison.holds(key.release(), release),
            // A word may be a version's: bionic, bullseye.
            Word::Flavour(word) if alias::version(key.distro(), word) != *word => {
                key.version() == alias::version(key.distro(), word)
            }
            Word::Flavour(flavour) => {
                key.release().split(['-', '.', '+', '_']).any(|word| word.eq_ignore_ascii_case(flavour))
                    || key.release().ends_with(&format!("-{flavour}"))
            }
        })
    }
}

const ARCHES: [&str; 16] = [
    "x86_64", "amd64", "i386", "i686", "arm64", "aarch64", "arm", "armhf", "armel", "armv7l", "s390x",
    "ppc64el", "ppc64le", "riscv64", "mips64el", "mipsel",
];

impl Word {
    fn parse(word: &str, first: bool) -> Result<Word, Wrong> {
        let split = word.find(['<', '>', '=']).map(|at| word.split_at(at));
        if let Some((name, rest)) = split {
            let forms = [
                ("<=", Comparison::AtMost),
                (">=", Comparison::AtLeast),
                ("==", Comparison::Equal),
                ("<", Comparison::Less),
                (">", Comparison::More),
                ("=", Comparison::Equal),
            ];
            let found = forms.iter().find_map(|&(sign, form)| Some((form, rest.strip_prefix(sign)?)));
            let Some((comparison, value)) = found.filter(|(_, value)| !value.is_empty() && !name.is_empty())
            else {
                return Err(Wrong(format!("{word:?} compares nothing")));
            };
            return Ok(match name {
                "release" | "kernel" => Word::Release(comparison, value.to_owned()),
                "arch" => Word::Arch(value.to_owned()),
                "flavour" | "flavor" => Word::Flavour(value.to_owned()),
                "distro" => Word::Distro { name: value.to_owned(), version: None },
                name => Word::Distro { name: name.to_owned(), version: Some((comparison, value.to_owned())) },
            });
        }
        Ok(if word.starts_with(|c: char| c.is_ascii_digit()) {
            Word::Version(word.to_owned())
        } else if ARCHES.contains(&word) {
            Word::Arch(word.to_owned())
        } else if first {
            Word::Distro { name: word.to_owned(), version: None }
        } else {
            Word::Flavour(word.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(expression: &str, key: &str) -> bool {
        expression.parse::<Selection>().unwrap().means(&key.parse().unwrap())
    }

    /// Check which kernels expressions mean.
    #[test]
    fn selections() {
        let (bullseye, cloud) = ("debian/11/x86_64/5.10.0-35-amd64", "debian/12/x86_64/6.1.0-50-cloud-amd64");
        let (bionic, arm) =
            ("ubuntu/18.04/x86_64/4.15.0-213-generic", "fedora/38/arm64/6.2.9-300.fc38.aarch64");
        for (expression, meant) in [
            ("debian", &[bullseye, cloud][..]),
            ("debian>=11", &[bullseye, cloud]),
            ("debian>11", &[cloud]),
            ("debian>=bookworm", &[cloud]),
            ("debian<12", &[bullseye]),
            ("debian 12 cloud", &[cloud]),
            ("debian 12 amd64", &[cloud]),
            ("debian 11 cloud", &[]),
            ("ubuntu 18.04 generic", &[bionic]),
            ("ubuntu bionic", &[bionic]),
            ("debian bullseye", &[bullseye]),
            ("debian>=11, ubuntu 18.04 generic", &[bullseye, cloud, bionic]),
            ("* aarch64", &[arm]),
            ("release>=5.10", &[bullseye, cloud, arm]),
            ("release>5.10", &[cloud, arm]),
            ("kernel<=4.15", &[bionic]),
            ("x86_64 release<6", &[bullseye, bionic]),
            ("distro=fedora arch=arm64", &[arm]),
        ] {
            for key in [bullseye, cloud, bionic, arm] {
                assert_eq!(means(expression, key), meant.contains(&key), "{expression}: {key}");
            }
        }
        for wrong in ["", " , ", "debian>=", ">=11"] {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong}");
        }
    }

    /// Check that a clause that means nothing is told.
    #[test]
    fn idle_clauses() {
        let selection: Selection = "debian, ubuntu 99.04".parse().unwrap();
        let key: Key = "debian/11/x86_64/5.10.0-35-amd64".parse().unwrap();
        assert_eq!(selection.idle(&[&key]), ["ubuntu 99.04"]);
    }
}
