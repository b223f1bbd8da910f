//! What must not change between two requests for one file (RFC 9110: ETag, Last-Modified, Content-Range).

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};

/// What a server says about a file. Some servers and proxies send no ETag and no date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    etag: Option<Vec<u8>>,
    last_modified: Option<Vec<u8>>,
    /// Length of the whole file.
    pub(super) length: Option<u64>,
}

impl Identity {
    pub(super) fn new(headers: &HeaderMap, length: Option<u64>) -> Self {
        let value = |name| headers.get(name).map(|value: &HeaderValue| value.as_bytes().to_vec());
        Self { etag: value(ETAG), last_modified: value(LAST_MODIFIED), length }
    }

    /// Why `self`, seen when going on, is not the file that `first` described; `None` if it is.
    pub(super) fn differs_from(&self, first: &Self) -> Option<&'static str> {
        if self.etag != first.etag {
            Some("the file's ETag changed")
        } else if self.last_modified != first.last_modified {
            Some("the file's Last-Modified changed")
        } else if self.length != first.length {
            Some("the file's length changed")
        } else {
            None
        }
    }

    /// Whether there is anything by which a change would show.
    pub(super) fn is_known(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some() || self.length.is_some()
    }

    /// The ETag, if it is a strong one: only such may guard a range.
    pub(super) fn strong_etag(&self) -> Option<&[u8]> {
        self.etag.as_deref().filter(|etag| !etag.starts_with(b"W/"))
    }
}

/// What `Content-Range: bytes FIRST-LAST/TOTAL` says; no total if that is `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// Reads the header; `None` if it is missing or makes no sense.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
        let fits = first <= last && last < u64::MAX && total.is_none_or(|total| last < total);
        fits.then_some(Self { first, last, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which Content-Range values are believed.
    #[test]
    fn content_range_values() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            ContentRange::of(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some(ContentRange { first: 5, last: 9, total: Some(10) }));
        assert_eq!(parse("bytes 5-9/*"), Some(ContentRange { first: 5, last: 9, total: None }));
        for wrong in [
            "bytes */10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "5-9/10",
            "bytes 5-9",
            "bytes -1-9/10",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
