//! Byte ranges (RFC 9110, section 14): one range an answer.
//!
//! A request for several ranges gets the whole, as the section allows; nobody fetches BTF that way.

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::RANGE;

/// Which bytes of a representation to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Selected {
    /// All of them: 200.
    Whole,
    /// These: 206.
    Part(Range<u64>),
    /// The range lies past the end: 416.
    Unsatisfiable,
}

/// What `Range` selects of a representation of `len` bytes. A header that is not understood is ignored.
pub(crate) fn select(headers: &HeaderMap, len: u64) -> Selected {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Selected::Whole;
    };
    let Some((first, last)) = parse(range) else { return Selected::Whole };
    let part = match (first, last) {
        (Some(first), Some(last)) if last < first => return Selected::Whole,
        (Some(first), last) => first..last.map_or(len, |last| last.saturating_add(1).min(len)),
        (None, Some(suffix)) => len.saturating_sub(suffix)..len,
        (None, None) => return Selected::Whole,
    };
    if part.is_empty() { Selected::Unsatisfiable } else { Selected::Part(part) }
}

/// `bytes=FIRST-LAST`, either of which may be missing.
fn parse(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((position(first)?, position(last)?))
}

/// `Some(None)` for nothing, `None` for what is no number. A number too large to hold lies past every end.
fn position(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(if text.is_empty() { None } else { Some(text.parse().unwrap_or(u64::MAX)) })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(value: &str, len: u64) -> Selected {
        select(&[(RANGE, HeaderValue::from_str(value).unwrap())].into_iter().collect(), len)
    }

    /// Check every form of a single range, and that it is cut to what there is.
    #[test]
    fn single_ranges() {
        for (value, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("Bytes= 5-7", 5..8),
            ("bytes=5-", 5..10),
            ("bytes=5-100", 5..10),
            ("bytes=9-18446744073709551615", 9..10),
            ("bytes=0-99999999999999999999999", 0..10),
            ("bytes=-3", 7..10),
            ("bytes=-100", 0..10),
        ] {
            assert_eq!(asked(value, 10), Selected::Part(part), "{value}");
        }
    }

    /// Check that what lies past the end is refused, and everything of an empty representation.
    #[test]
    fn past_the_end() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(asked(value, 10), Selected::Unsatisfiable, "{value}");
        }
        assert_eq!(asked("bytes=0-", 0), Selected::Unsatisfiable);
    }

    /// Check that several ranges, other units and nonsense are ignored.
    #[test]
    fn ignored() {
        for value in [
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0x1-2",
        ] {
            assert_eq!(asked(value, 10), Selected::Whole, "{value}");
        }
        assert_eq!(select(&HeaderMap::new(), 10), Selected::Whole);
    }
}
