//! For programs on tokio: the same calls, on a thread where they may block.

use crate::{Error, Found, Kernel, Loader};

impl Loader {
    /// As [`Loader::get`], without blocking the caller's thread.
    ///
    /// # Errors
    /// Those of [`Loader::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, and where the runtime shuts down before it is done.
    pub async fn get_async(&self) -> Result<Found, Error> {
        let loader = self.clone();
        unblocked(move || loader.get()).await
    }

    /// As [`Loader::find`], without blocking the caller's thread.
    ///
    /// # Errors
    /// Those of [`Loader::find`].
    ///
    /// # Panics
    /// Those of [`Loader::get_async`].
    pub async fn find_async(&self, kernel: &Kernel) -> Result<Found, Error> {
        let (loader, kernel) = (self.clone(), kernel.clone());
        unblocked(move || loader.find(&kernel)).await
    }
}

async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("{error}"),
        },
    }
}
