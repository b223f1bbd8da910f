//! Which kernels of an archive somebody wants: conditions on their keys, an inventory of hosts, or both.
//!
//! Conditions are written as `distro=debian,ubuntu arch=x86_64 release>=4.18`: all of them must hold, one of a list's values must. Names are taken in any
//! known spelling, `*` and `?` stand for anything. An [`Inventory`] is what a fleet's hosts said about their kernels.
//!
//! A selection is kept beside a copy of an archive (`mirror.json`) and in exports, so it has a canonical text and JSON form.

mod inventory;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use inventory::{Host, Inventory};

use crate::error::excerpt;
use crate::{Error, KernelRecord, Key, Result, alias, order};

/// The most bytes the text of conditions may have, and the most values that a list may have.
const MAX_TEXT: usize = 64 << 10;

/// Which kernels are wanted, and what of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// What their keys must be like.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub select: Conditions,
    /// The hosts whose kernels are wanted; all kernels without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Whether configurations are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_configs: bool,
    /// Whether the split BTF of modules is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_modules: bool,
}

impl Selection {
    /// Whether it takes everything.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a kernel is wanted.
    pub fn takes(&self, kernel: &KernelRecord) -> bool {
        self.select.hold(&kernel.key)
            && self
                .inventory
                .as_ref()
                .is_none_or(|inventory| inventory.has(&kernel.key, kernel.build_id.as_ref()))
    }
}

/// Conditions on a kernel's key, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: Field,
    relation: Relation,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Distro,
    Version,
    Arch,
    Release,
}

const FIELDS: [(&str, Field); 4] = [
    ("distro", Field::Distro),
    ("version", Field::Version),
    ("arch", Field::Arch),
    ("release", Field::Release),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Is,
    IsNot,
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// Those of two characters first: they begin with those of one.
const RELATIONS: [(&str, Relation); 6] = [
    ("!=", Relation::IsNot),
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("=", Relation::Is),
    (">", Relation::Above),
    ("<", Relation::Below),
];

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold for this key.
    pub fn hold(&self, key: &Key) -> bool {
        self.0.iter().all(|condition| condition.holds(key))
    }
}

impl Condition {
    fn holds(&self, key: &Key) -> bool {
        let text = match self.field {
            Field::Distro => key.distro(),
            Field::Version => key.version(),
            Field::Arch => key.arch(),
            Field::Release => key.release(),
        };
        // Which spellings a version has depends on the distribution.
        let is = |value: &String| {
            fits(value, text) || self.field == Field::Version && alias::version(key.distro(), value) == text
        };
        let than = |value: &String| order(text).cmp(&order(value));
        match self.relation {
            Relation::Is => self.values.iter().any(is),
            Relation::IsNot => !self.values.iter().any(is),
            Relation::AtLeast => self.values.iter().all(|value| than(value).is_ge()),
            Relation::AtMost => self.values.iter().all(|value| than(value).is_le()),
            Relation::Above => self.values.iter().all(|value| than(value).is_gt()),
            Relation::Below => self.values.iter().all(|value| than(value).is_lt()),
        }
    }
}

impl FromStr for Condition {
    type Err = Error;

    fn from_str(term: &str) -> Result<Self> {
        let wrong = |reason: String| Err(Error::Selection { reason });
        let at = term.find(['!', '<', '>', '=']).unwrap_or(term.len());
        let (name, rest) = term.split_at(at);
        let known = RELATIONS.iter().find_map(|(sign, relation)| Some((*relation, rest.strip_prefix(sign)?)));
        let Some((relation, list)) = known else {
            return wrong(format!("`{}` is no condition like distro=debian or release>=4.18", excerpt(term)));
        };
        let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
            return wrong(format!("`{}` is none of distro, version, arch and release", excerpt(name)));
        };
        let compares = !matches!(relation, Relation::Is | Relation::IsNot);
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || "._+~:-".contains(c) || !compares && "*?".contains(c);
        let mut values = Vec::new();
        for value in list.split(',') {
            if value.is_empty() || value.len() > Key::MAX_PART || !value.chars().all(allowed) {
                return wrong(format!("`{}` is no value for {name}", excerpt(value)));
            }
            values.push(match field {
                Field::Distro => alias::distro(value),
                Field::Arch => alias::arch(value),
                Field::Version | Field::Release => value.to_owned(),
            });
        }
        if compares && (values.len() != 1 || !matches!(field, Field::Version | Field::Release)) {
            return wrong(format!("`{}`: only one version or release can be compared with", excerpt(term)));
        }
        Ok(Self { field: *field, relation, values })
    }
}

impl FromStr for Conditions {
    type Err = Error;

    /// Takes conditions separated by white space; none at all hold for everything.
    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_TEXT {
            return Err(Error::Selection { reason: "longer than 64 KiB".to_owned() });
        }
        text.split_ascii_whitespace().map(str::parse).collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Condition { field, relation, values }) in self.0.iter().enumerate() {
            let name = FIELDS.iter().find(|known| known.1 == *field).map_or("", |known| known.0);
            let sign = RELATIONS.iter().find(|known| known.1 == *relation).map_or("", |known| known.0);
            write!(f, "{}{name}{sign}{}", if place > 0 { " " } else { "" }, values.join(","))?;
        }
        Ok(())
    }
}

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether text is what a pattern with `*` and `?` stands for. Takes time in proportion to the product of their lengths at most.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what followed the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 6] = [
        "debian/11/x86_64/5.10.0-35-amd64",
        "debian/12/i386/6.1.0-30-686-pae",
        "ubuntu/18.04/x86_64/4.15.0-200-generic",
        "ubuntu/22.04/arm64/5.15.0-100-generic",
        "centos/8/x86_64/4.18.0-348.el8.x86_64",
        "sles/15.4/x86_64/5.14.21-150400.24.100-default",
    ];

    fn taken(text: &str) -> Vec<usize> {
        let conditions: Conditions = text.parse().unwrap();
        assert_eq!(conditions.to_string().parse::<Conditions>().unwrap(), conditions, "{text}");
        let hold = |place: &usize| conditions.hold(&KEYS[*place].parse().unwrap());
        (0..KEYS.len()).filter(hold).collect()
    }

    /// Check that conditions take the kernels that a reader would expect, with names in any spelling.
    #[test]
    fn select_conditions() {
        for (text, places) in [
            ("", &[0, 1, 2, 3, 4, 5][..]),
            ("distro=debian,ubuntu arch=x86_64 release>=4.18", &[0]),
            ("arch=amd64", &[0, 2, 4, 5]),
            ("arch!=amd64", &[1, 3]),
            ("distro=debian version=bullseye", &[0]),
            ("version=18.04,15.4", &[2, 5]),
            ("release>=4.18 release<5.15", &[0, 4, 5]),
            ("release<4.18", &[2]),
            ("release>5.10.0-35-amd64", &[1, 3, 5]),
            ("release<=5.10.0-35-amd64 distro=debian", &[0]),
            ("release=5.1*", &[0, 3, 5]),
            ("release=*-generic,*-amd6?", &[0, 2, 3]),
            ("release!=*-generic distro!=debian", &[4, 5]),
        ] {
            assert_eq!(taken(text), places, "{text}");
        }
    }

    /// Check that what makes no sense is refused with a bounded message.
    #[test]
    fn select_refuses() {
        for text in [
            "debian",
            "distro",
            "=debian",
            "distro=",
            "distro=debian,",
            "kernel=5",
            "distro>debian",
            "release>=4.18,5.10",
            "release>=4.*",
            "release=5.10/",
            "release==5",
            &format!("release={}", "x".repeat(129)),
            &"distro=debian ".repeat(10_000),
        ] {
            let message = text.parse::<Conditions>().unwrap_err().to_string();
            assert!(message.starts_with("selection: ") && message.len() < 500, "{message}");
        }
    }

    proptest! {
        /// Check that a pattern fits as the obvious, slow way of comparing says.
        #[test]
        fn select_patterns(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, _) => text.is_empty(),
                    (Some((b'*', rest)), _) => slow(rest, text) || !text.is_empty() && slow(pattern, &text[1..]),
                    (Some((p, rest)), Some((t, after))) => (*p == b'?' || p == t) && slow(rest, after),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(fits(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        /// Check that any text is conditions, which read back as the same, or a bounded error.
        #[test]
        fn select_any_text(text in ".{0,200}") {
            match text.parse::<Conditions>() {
                Ok(conditions) => prop_assert_eq!(conditions.to_string().parse::<Conditions>().unwrap(), conditions),
                Err(error) => prop_assert!(error.to_string().len() < 1500),
            }
        }
    }
}
