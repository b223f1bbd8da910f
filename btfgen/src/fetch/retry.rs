//! When to try again, and how long to wait before.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Options;

/// Bytes after which an attempt counts as one that brought something. A server that sends one byte per connection would keep us
/// for ever otherwise.
const PROGRESS: u64 = 64 << 10;

/// Whether the same request may succeed later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Counts attempts that brought next to nothing, and paces them.
#[derive(Debug)]
pub(super) struct Retry {
    failures: u32,
    bytes: u64,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { failures: 0, bytes: 0 }
    }

    /// Bytes came: once they are enough, the next failure is the first again.
    pub(super) fn progress(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= PROGRESS {
            self.failures = 0;
        }
    }

    /// Attempts in a row that failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records one more failure: how long to wait before the next attempt, or `None` when there is none left, or the server asks
    /// for a longer pause than we make.
    pub(super) fn failed(&mut self, options: &Options, retry_after: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        self.bytes = 0;
        if self.failures >= options.attempts || retry_after > Some(options.longest_pause) {
            return None;
        }
        let doubled = options.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        // Between a half and the whole, so that many clients do not come back at the same instant.
        let jittered = doubled.min(options.longest_pause).mul_f64(0.5 + random_fraction() / 2.0);
        Some(retry_after.map_or(jittered, |asked| asked.max(jittered)))
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A number in `0.0..1.0`, from the randomness of the standard library's hash keys.
fn random_fraction() -> f64 {
    f64::from(RandomState::new().hash_one(0_u8) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that pauses double, stay within their bounds, honour `Retry-After`, and end.
    #[test]
    fn pauses() {
        let options = Options { attempts: 4, ..Options::default() };
        let mut retry = Retry::new();
        let first = retry.failed(&options, None).unwrap();
        assert!(first >= options.first_pause / 2 && first <= options.first_pause, "{first:?}");
        let second = retry.failed(&options, None).unwrap();
        assert!(second >= options.first_pause && second <= options.first_pause * 2, "{second:?}");
        assert_eq!(retry.failed(&options, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.failed(&options, None), None);

        // A server that wants to be left alone for a day is left alone.
        retry = Retry::new();
        assert_eq!(retry.failed(&options, Some(Duration::from_secs(86_400))), None);
    }

    /// Check that a trickle of bytes does not buy attempts without end, and that real progress does.
    #[test]
    fn progress() {
        let options = Options { attempts: 3, ..Options::default() };
        let mut retry = Retry::new();
        for _ in 0..2 {
            assert!(retry.failed(&options, None).is_some());
            retry.progress(1000);
        }
        assert_eq!(retry.failed(&options, None), None);
        retry.progress(64 << 10);
        assert!(retry.failed(&options, None).is_some());
    }

    /// Check that `Retry-After` is read in seconds and as a date, and that other forms are ignored.
    #[test]
    fn retry_after_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "120".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        headers.insert(RETRY_AFTER, date.parse().unwrap());
        let asked = retry_after(&headers).unwrap().as_secs();
        assert!((90..=100).contains(&asked), "{asked}");
        headers.insert(RETRY_AFTER, "Fri, 20 Nov 1998 09:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        headers.insert(RETRY_AFTER, "tomorrow".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
