//! Content codings: what `Accept-Encoding` (RFC 9110, section 12.5.3) asks for, among what we have.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

/// A form in which a representation can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// Zstandard (RFC 8878), as the archive stores it.
    Zstd,
}

impl Coding {
    /// What we offer for a blob, the dearest to us first: the stored form costs nothing to send.
    pub(crate) const OFFERED: [Coding; 2] = [Coding::Zstd, Coding::Identity];

    /// The coding's name in `Accept-Encoding` and `Content-Encoding`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Zstd => "zstd",
        }
    }
}

/// The best of [`Coding::OFFERED`] for this request, or `None` when it refuses all of them.
///
/// The highest weight wins, and our order among equals. A client that says nothing gets identity, as it does when it
/// names only codings that we do not have, unless it refuses identity by `identity;q=0` or `*;q=0`.
pub(crate) fn negotiate(headers: &HeaderMap) -> Option<Coding> {
    let wishes: Vec<(&str, u16)> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(wish)
        .collect();
    let weight = |coding: Coding| {
        let named =
            |name: &str| wishes.iter().find(|(wish, _)| wish.eq_ignore_ascii_case(name)).map(|(_, q)| *q);
        match named(coding.name()).or_else(|| named("*")) {
            Some(0) => None,
            // Twice the weight leaves room below the smallest one for identity that nobody mentioned.
            Some(q) => Some(2 * q),
            None => (coding == Coding::Identity).then_some(1),
        }
    };
    // `max_by_key` takes the last of equals, so the dearest goes last.
    let offered = Coding::OFFERED.into_iter().rev();
    offered
        .filter_map(|coding| Some((coding, weight(coding)?)))
        .max_by_key(|(_, weight)| *weight)
        .map(|(coding, _)| coding)
}

/// One member of the list: the coding's name and its weight in thousandths. Malformed members do not count.
fn wish(member: &str) -> Option<(&str, u16)> {
    let (name, parameter) = member.split_once(';').map_or((member, None), |(name, rest)| (name, Some(rest)));
    let name = name.trim();
    let weight = match parameter {
        None => 1000,
        Some(parameter) => {
            let parameter = parameter.trim();
            qvalue(parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?)?
        }
    };
    (!name.is_empty()).then_some((name, weight))
}

/// `0`, `1`, or a decimal between them with up to three digits, in thousandths.
fn qvalue(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = fraction.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(values: &[&str]) -> Option<Coding> {
        let header = |value: &&str| (ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        negotiate(&values.iter().map(header).collect())
    }

    /// Check that the highest weight wins, in whatever spelling, and ours among equals.
    #[test]
    fn weights() {
        for (value, coding) in [
            ("zstd", Coding::Zstd),
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("ZSTD;q=0.5", Coding::Zstd),
            ("zstd ; q=0.001", Coding::Zstd),
            ("*", Coding::Zstd),
            ("identity, zstd", Coding::Zstd),
            ("identity;q=0.5, zstd;q=0.5", Coding::Zstd),
            ("identity;q=0.501, zstd;q=0.5", Coding::Identity),
            ("identity, zstd;q=0.9", Coding::Identity),
            ("*;q=0.1, zstd;q=0", Coding::Identity),
            ("zstd;q=0", Coding::Identity),
            ("gzip", Coding::Identity),
            ("", Coding::Identity),
            ("identity;q=0, *;q=0.1", Coding::Zstd),
        ] {
            assert_eq!(asked(&[value]), Some(coding), "{value}");
        }
        assert_eq!(asked(&[]), Some(Coding::Identity));
        assert_eq!(asked(&["gzip", "zstd"]), Some(Coding::Zstd));
    }

    /// Check that a client may refuse everything we have.
    #[test]
    fn nothing_acceptable() {
        for value in ["*;q=0", "gzip, identity;q=0", "identity;q=0.000, zstd;q=0.0"] {
            assert_eq!(asked(&[value]), None, "{value}");
        }
    }

    /// Check that malformed members do not count.
    #[test]
    fn malformed_members() {
        for value in [
            "zstd;q=2",
            "zstd;q=1.001",
            "zstd;q=0.1234",
            "zstd;q=-1",
            "zstd;q",
            "zstd;level=3",
            ";q=1",
            "zst d",
        ] {
            assert_eq!(asked(&[value]), Some(Coding::Identity), "{value}");
        }
    }
}
