//! How fast bytes may come: a rate over all connections together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long unused time counts: a pause is not made up for by a rush.
const BURST: Duration = Duration::from_millis(250);

/// A limit on bytes a second.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    /// When what was spent so far will have been earned.
    earned: Mutex<Instant>,
}

impl Pace {
    /// At most this many bytes a second; without a number, as fast as they come.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, earned: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes are earned.
    pub(super) async fn spend(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let until = {
            let mut earned = self.earned.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let from = now.checked_sub(BURST).map_or(*earned, |floor| floor.max(*earned));
            *earned = from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            *earned
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the bytes of several at once take the time they must, and no more, in the clock of the test.
    #[tokio::test(start_paused = true)]
    async fn pace_of_several() {
        let pace = Pace::new(Some(1000));
        let begun = Instant::now();
        let all = (0..10).map(|_| async {
            for _ in 0..10 {
                pace.spend(100).await;
            }
        });
        futures::future::join_all(all).await;
        let took = begun.elapsed();
        assert!((Duration::from_millis(9_700)..=Duration::from_millis(10_010)).contains(&took), "{took:?}");
        let begun = Instant::now();
        Pace::new(None).spend(usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
