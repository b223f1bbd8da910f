//! When to try again, and how long to wait before.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Options;

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

/// Counts attempts that brought nothing, and paces them.
#[derive(Debug)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { failures: 0 }
    }

    /// Bytes came: the next failure is the first again.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }

    /// Attempts in a row that failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records one more failure: how long to wait before the next attempt, or `None` when there is none left.
    pub(super) fn failed(&mut self, options: &Options, retry_after: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= options.attempts {
            return None;
        }
        let doubled = options.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        // Between a half and the whole, so that many clients do not come back at the same instant.
        let jittered = doubled.mul_f64(0.5 + random_fraction() / 2.0);
        Some(retry_after.map_or(jittered, |asked| asked.max(jittered)).min(options.longest_pause))
    }
}

/// `Retry-After` in seconds; the form with a date is left to the ordinary back-off.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
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

        retry.progress();
        assert_eq!(retry.failed(&options, Some(Duration::from_secs(86_400))), Some(options.longest_pause));
    }

    /// Check that `Retry-After` is read in seconds, and that other forms are ignored.
    #[test]
    fn retry_after_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "120".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
        headers.insert(RETRY_AFTER, "Fri, 20 Nov 2026 09:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
