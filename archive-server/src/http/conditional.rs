//! Conditional requests (RFC 9110, section 13): `If-Match`, `If-None-Match`, `If-Range`.
//!
//! Every entity tag we send is strong, and no answer has a `Last-Modified`: conditions on dates never hold.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// What the preconditions of a GET or HEAD request decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Precondition {
    /// Go on.
    Met,
    /// The client has this representation already: 304.
    NotModified,
    /// The client wants another representation than this one: 412.
    Failed,
}

/// Evaluates the preconditions against the representation's `etag`, quotes included, in the order of section 13.2.2.
pub(crate) fn evaluate(headers: &HeaderMap, etag: &str) -> Precondition {
    if headers.contains_key(IF_MATCH) && !matches(headers, &IF_MATCH, |tag| tag == etag) {
        return Precondition::Failed;
    }
    // If-None-Match compares weakly: a `W/` before the tag is of no matter.
    let weakly = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
    if matches(headers, &IF_NONE_MATCH, weakly) { Precondition::NotModified } else { Precondition::Met }
}

/// Whether `Range` may be honoured: there is no `If-Range`, or it names exactly this representation.
pub(crate) fn range_allowed(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value.as_bytes().trim_ascii() == etag.as_bytes())
}

/// Whether `*` or a tag for which `same` holds is listed.
fn matches(headers: &HeaderMap, name: &HeaderName, same: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(tags).any(|tag| tag == "*" || same(tag))
}

/// The members of a list of entity tags. A comma inside the quotes belongs to the tag; text that is no tag ends the list.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let prefix = if rest.starts_with("W/") { 2 } else { 0 };
        let len = if rest.starts_with('*') {
            1
        } else {
            let opaque = rest[prefix..].strip_prefix('"')?;
            prefix + opaque.find('"')? + 2
        };
        let (tag, after) = rest.split_at(len);
        rest = after;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const ETAG: &str = "\"ab.zst\"";

    fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    /// Check that If-None-Match finds the tag among others, weak or strong, over several headers, and `*`.
    #[test]
    fn if_none_match() {
        for values in [
            &[ETAG] as &[&str],
            &["W/\"ab.zst\""],
            &["\"x\", \"ab.zst\""],
            &["\"a,b\",W/\"ab.zst\""],
            &["\"x\"", "\"ab.zst\""],
            &["*"],
        ] {
            assert_eq!(evaluate(&with(IF_NONE_MATCH, values), ETAG), Precondition::NotModified, "{values:?}");
        }
        for values in
            [&["\"ab\""] as &[&str], &["ab.zst"], &[""], &["\""], &["W/"], &["\"ab.zst"], &["x, \"ab.zst\""]]
        {
            assert_eq!(evaluate(&with(IF_NONE_MATCH, values), ETAG), Precondition::Met, "{values:?}");
        }
        assert_eq!(evaluate(&HeaderMap::new(), ETAG), Precondition::Met);
    }

    /// Check that If-Match compares strongly and comes first.
    #[test]
    fn if_match() {
        assert_eq!(evaluate(&with(IF_MATCH, &["\"x\", \"ab.zst\""]), ETAG), Precondition::Met);
        assert_eq!(evaluate(&with(IF_MATCH, &["*"]), ETAG), Precondition::Met);
        for value in ["W/\"ab.zst\"", "\"x\"", "", "garbage"] {
            assert_eq!(evaluate(&with(IF_MATCH, &[value]), ETAG), Precondition::Failed, "{value}");
        }
        let mut both = with(IF_MATCH, &["\"x\""]);
        both.extend(with(IF_NONE_MATCH, &[ETAG]));
        assert_eq!(evaluate(&both, ETAG), Precondition::Failed);
    }

    /// Check that If-Range takes the one strong tag, and neither a weak one nor a date.
    #[test]
    fn if_range() {
        assert!(range_allowed(&HeaderMap::new(), ETAG));
        assert!(range_allowed(&with(IF_RANGE, &[ETAG]), ETAG));
        for value in ["W/\"ab.zst\"", "\"ab\"", "Tue, 15 Nov 1994 12:45:26 GMT", ""] {
            assert!(!range_allowed(&with(IF_RANGE, &[value]), ETAG), "{value}");
        }
    }
}
