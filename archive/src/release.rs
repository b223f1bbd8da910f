//! Order and likeness of kernel releases, by the numbers in them.

use std::cmp::Reverse;

/// Text whose bytewise order is the order in which people read versions: `5.9` before `5.10`.
///
/// Different texts give different results, so it can replace them as a sort key.
pub fn order(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 + 1);
    for run in runs(text) {
        if run.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = run.trim_start_matches('0');
            // A longer number is a larger one: its length goes first.
            let length = u8::try_from(digits.len()).unwrap_or(u8::MAX);
            out.push_str(&format!("{length:03}"));
            out.push_str(digits);
        } else {
            out.push_str(run);
        }
    }
    // Leading zeros, dropped above, still tell texts apart.
    out.push('\u{1}');
    out.push_str(text);
    out
}

/// How alike two releases are. The greater of two is the closer.
///
/// What counts, in this order: how many of the kernel's own version numbers (`5.10.0`) agree from the start; the same
/// flavour (`-cloud-amd64`); how much more agrees from the start; how near the first differing numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness {
    version_numbers: usize,
    same_flavour: bool,
    runs: usize,
    distance: Reverse<u64>,
}

/// Compares two releases (`uname -r`).
pub fn closeness(a: &str, b: &str) -> Closeness {
    let agreeing = runs(a).zip(runs(b)).take_while(|(a, b)| a == b).count();
    let version_numbers = numbers(version(a)).zip(numbers(version(b))).take_while(|(a, b)| a == b).count();
    let distance = match (runs(a).nth(agreeing), runs(b).nth(agreeing)) {
        (None, None) => 0,
        (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.abs_diff(b),
            _ => u64::MAX,
        },
        _ => u64::MAX,
    };
    Closeness {
        version_numbers,
        same_flavour: flavour(a) == flavour(b),
        runs: agreeing,
        distance: Reverse(distance),
    }
}

/// Runs of digits and runs of anything else, in turn.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        rest = tail;
        Some(run)
    })
}

fn numbers(text: &str) -> impl Iterator<Item = &str> {
    runs(text).filter(|run| run.starts_with(|c: char| c.is_ascii_digit()))
}

/// The kernel's own version: `5.10.0` of `5.10.0-35-amd64`.
fn version(release: &str) -> &str {
    &release[..release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len())]
}

/// What follows the last number-led part: `-cloud-amd64` of `5.10.0-35-cloud-amd64`.
pub(crate) fn flavour(release: &str) -> &str {
    let mut end = 0;
    let mut at = 0;
    for part in release.split_inclusive(['-', '+', '~']) {
        at += part.len();
        if part.starts_with(|c: char| c.is_ascii_digit()) {
            end = at;
        }
    }
    &release[end..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Check that numbers order as numbers, wherever they stand.
    #[test]
    fn release_order() {
        let ordered = [
            "4.4.0-9-generic",
            "4.4.0-10-generic",
            "4.15.0-1030-aws",
            "5.9.1",
            "5.10.0-9-686",
            "5.10.0-35-686-pae",
            "5.10.0-35-amd64",
            "05.10.1",
            "5.10.1",
            "18446744073709551616.0",
        ];
        for pair in ordered.windows(2) {
            assert!(order(pair[0]) < order(pair[1]), "{pair:?}");
        }
    }

    /// Check which of two candidates is the closer to a wanted release.
    #[test]
    fn release_closeness() {
        for (wanted, closer, farther) in [
            ("5.10.0-35-amd64", "5.10.0-34-amd64", "5.10.0-30-amd64"),
            ("5.10.0-35-amd64", "5.10.0-30-amd64", "5.10.0-35-rt-amd64"),
            ("5.10.0-35-amd64", "5.10.0-35-rt-amd64", "6.1.0-35-amd64"),
            ("5.10.0-35-cloud-amd64", "5.10.0-3-cloud-amd64", "5.10.0-35-amd64"),
            ("5.10.0-35-amd64", "5.10.0-35-amd64", "5.10.0-36-amd64"),
            ("4.18.0-348.el8.x86_64", "4.18.0-305.el8.x86_64", "4.18.0-80.el8.x86_64"),
        ] {
            assert!(
                closeness(wanted, closer) > closeness(wanted, farther),
                "{wanted}: {closer} or {farther}"
            );
        }
    }

    proptest! {
        /// Check that order is that of the numbers, and tells every two texts apart.
        #[test]
        fn release_order_of_numbers(a in any::<[u32; 3]>(), b in any::<[u32; 3]>(), x in ".{0,20}", y in ".{0,20}") {
            let text = |v: [u32; 3]| format!("{}.{}.{}-generic", v[0], v[1], v[2]);
            prop_assert_eq!(order(&text(a)).cmp(&order(&text(b))), a.cmp(&b));
            prop_assert_eq!(order(&x) == order(&y), x == y);
        }

        /// Check that nothing is closer to a text than itself, and that closeness is the same both ways.
        #[test]
        fn release_closest_is_itself(a in "[0-9a-z.+-]{0,16}", b in "[0-9a-z.+-]{0,16}") {
            prop_assert!(closeness(&a, &a) >= closeness(&a, &b));
            prop_assert_eq!(closeness(&a, &b), closeness(&b, &a));
        }
    }
}
