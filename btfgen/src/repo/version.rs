//! How package managers order versions: dpkg's way (deb-version(7)) and RPM's (rpm-version(7)).

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Whose rules order the versions of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionOrder {
    /// dpkg's: `[epoch:]upstream[-revision]`.
    Deb,
    /// RPM's: `[epoch:]version[-release]`.
    Rpm,
}

impl VersionOrder {
    /// Compares two versions. What is no version at all is still ordered, always in the same way.
    pub fn compare(self, left: &str, right: &str) -> Ordering {
        match self {
            Self::Deb => compare_deb(left, right),
            Self::Rpm => compare_rpm(left, right),
        }
    }
}

/// Compares two package versions as dpkg does: epoch, upstream version, Debian revision (deb-version(7)).
fn compare_deb(left: &str, right: &str) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (left, right) = (parts(left), parts(right));
    left.0
        .cmp(&right.0)
        .then_with(|| compare_part(left.1, right.1))
        .then_with(|| compare_part(left.2, right.2))
}

/// Compares by turns a run of other characters and a run of digits; `~` sorts before the end, letters before the rest.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    fn weight(byte: Option<u8>) -> i32 {
        match byte {
            Some(b'~') => -1,
            None => 0,
            Some(byte) if byte.is_ascii_digit() => 0,
            Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
            Some(byte) => i32::from(byte) + 256,
        }
    }
    fn split(text: &str, digits: bool) -> (&str, &str) {
        let end = text.bytes().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
        text.split_at(end)
    }
    while !left.is_empty() || !right.is_empty() {
        let ((left_word, left_rest), (right_word, right_rest)) = (split(left, false), split(right, false));
        for at in 0..left_word.len().max(right_word.len()) {
            let byte = |word: &str| weight(word.as_bytes().get(at).copied());
            match byte(left_word).cmp(&byte(right_word)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let ((left_number, left_rest), (right_number, right_rest)) =
            (split(left_rest, true), split(right_rest, true));
        let significant = |number: &'_ str| number.trim_start_matches('0').len();
        let by_length = significant(left_number).cmp(&significant(right_number));
        let by_digits = || left_number.trim_start_matches('0').cmp(right_number.trim_start_matches('0'));
        match by_length.then_with(by_digits) {
            Ordering::Equal => (left, right) = (left_rest, right_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// Compares two package versions as RPM does: epoch, version, release.
fn compare_rpm(left: &str, right: &str) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), version, release)
    }
    let (left, right) = (parts(left), parts(right));
    left.0
        .cmp(&right.0)
        .then_with(|| compare_rpm_part(left.1, right.1))
        .then_with(|| compare_rpm_part(left.2, right.2))
}

/// RPM's `rpmvercmp`: by turns runs of digits or of letters, whatever separates them; a number is newer than letters,
/// `~` older than the end, `^` newer than the end but older than anything else.
fn compare_rpm_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    let separator = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"~^".contains(byte);
    let skip = |text: &mut &[u8]| {
        let start = text.iter().position(|byte| !separator(byte)).unwrap_or(text.len());
        *text = &text[start..];
    };
    loop {
        skip(&mut left);
        skip(&mut right);
        match (left.first(), right.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => (left, right) = (&left[1..], &right[1..]),
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(first), Some(second)) => {
                let digits = first.is_ascii_digit();
                if digits != second.is_ascii_digit() {
                    return if digits { Ordering::Greater } else { Ordering::Less };
                }
                let run = |text: &[u8]| {
                    let of_kind = |byte: &u8| {
                        if digits { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() }
                    };
                    text.iter().position(|byte| !of_kind(byte)).unwrap_or(text.len())
                };
                let ((one, left_rest), (other, right_rest)) =
                    (left.split_at(run(left)), right.split_at(run(right)));
                let by_value = if digits {
                    let significant = |number: &'_ [u8]| {
                        number.iter().position(|byte| *byte != b'0').unwrap_or(number.len())
                    };
                    let (one, other) = (&one[significant(one)..], &other[significant(other)..]);
                    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
                } else {
                    one.cmp(other)
                };
                match by_value {
                    Ordering::Equal => (left, right) = (left_rest, right_rest),
                    unequal => return unequal,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check the order of versions against dpkg's own verdicts.
    #[test]
    fn versions_as_dpkg_orders_them() {
        let versions = [
            "6.1.170-3",
            "6.1.176-1",
            "6.12.95-1~bpo12+1",
            "6.12.95-1",
            "6.12.117-1~deb12u1",
            "1:4.9-1",
            "4.9",
            "4.9-0",
            "7.0~rc3-1",
            "7.0-1",
            "6.1.99-1",
            "6.1.099-1",
            "5.10.0a-1",
            "5.10.0+b-1",
            "2.0.7s-1",
            "2.0.7-1",
        ];
        for left in versions {
            for right in versions {
                let dpkg = |operator| {
                    let status = std::process::Command::new("dpkg")
                        .args(["--compare-versions", left, operator, right])
                        .status();
                    status.expect("dpkg is needed").success()
                };
                let expected = if dpkg("lt") {
                    Ordering::Less
                } else if dpkg("gt") {
                    Ordering::Greater
                } else {
                    Ordering::Equal
                };
                assert_eq!(VersionOrder::Deb.compare(left, right), expected, "{left} and {right}");
            }
        }
    }

    /// Check the order of versions against rpm's own verdicts.
    #[test]
    fn versions_as_rpm_orders_them() {
        let versions = [
            "1.0",
            "1.0~rc1",
            "1.0~rc2",
            "1.0^git1",
            "1.0^",
            "1.0^git1~pre",
            "1.0.1",
            "1.00",
            "1.a",
            "1.A",
            "1.0a",
            "1.0.a",
            "10",
            "2",
            "150300.59.93.1",
            "150300.59.93",
            "348.el8",
            "348.2.1.el8",
            "348.rt7.130.el8",
            "0",
            "a",
            "1_0",
            "1..0",
            "~",
            "^",
        ];
        let script: String = versions
            .iter()
            .flat_map(|left| {
                versions.iter().map(move |right| format!("print(rpm.vercmp('{left}','{right}'))print(' ')"))
            })
            .collect();
        let output =
            std::process::Command::new("rpm").args(["--eval", &format!("%{{lua: {script}}}")]).output();
        let output = output.expect("rpm is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let verdicts = String::from_utf8(output.stdout).unwrap();
        let mut verdicts =
            verdicts.split_ascii_whitespace().map(|verdict| verdict.parse::<i32>().unwrap().cmp(&0));
        for left in versions {
            for right in versions {
                assert_eq!(Some(compare_rpm(left, right)), verdicts.next(), "{left} and {right}");
            }
        }
        assert_eq!(compare_rpm("1:1-1", "2-1"), Ordering::Greater, "an epoch comes first");
        assert_eq!(compare_rpm("4.18.0-80.el8", "4.18.0-348.el8"), Ordering::Less);
    }
}
