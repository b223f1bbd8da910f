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
fn flavour(release: &str) -> &str {
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
