//! A body behind [`Read`]: the network runs ahead on the runtime, by a bounded number of bytes.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use url::Url;

use super::{Body, Client, Error, public_url};

/// Chunks on their way to the reader.
const CHUNKS_AHEAD: usize = 256;
/// Bytes on their way to the reader. A chunk is what one read of the socket brought, up to some hundred KiB. Who leaves early has fetched them for
/// nothing, and that is what most readers here do.
const BYTES_AHEAD: usize = 1 << 20;

/// A file being downloaded, read in order. Dropping it ends the transfer.
#[derive(Debug)]
pub struct Download {
    url: String,
    length: Option<u64>,
    current: Bytes,
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
    task: AbortHandle,
    received: Arc<AtomicU64>,
    /// Requests for parts of it.
    parts: Arc<AtomicU64>,
    /// A permit for each byte that may still be fetched ahead.
    room: Arc<Semaphore>,
    /// Permits that the current chunk holds.
    held: usize,
}

/// Permits that a chunk needs: no more than there are.
fn permits(chunk: &Bytes) -> usize {
    chunk.len().min(BYTES_AHEAD)
}

impl Download {
    pub(super) fn open(client: &Client, url: &Url, first: Option<u64>) -> Result<Self, Error> {
        let (head, opened) = oneshot::channel();
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let received = Arc::new(AtomicU64::new(0));
        let room = Arc::new(Semaphore::new(BYTES_AHEAD));
        let parts = Arc::new(AtomicU64::new(1));
        let parts_ = Arc::clone(&parts);
        let space = Arc::clone(&room);
        let (client_, url_, count) = (client.clone(), url.clone(), Arc::clone(&received));
        let task = client
            .runtime
            .spawn(async move {
                let mut body = match Body::open(client_, url_, first).await {
                    Ok(body) => body,
                    Err(error) => return drop(head.send(Err(error))),
                };
                if head.send(Ok(body.len())).is_err() {
                    return;
                }
                loop {
                    if body.is_at_end_of_part() {
                        // Not before everything was read, and more is wanted.
                        let Ok(all) = space.acquire_many(BYTES_AHEAD as u32).await else { return };
                        drop(all);
                        parts_.fetch_add(1, Ordering::Relaxed);
                    }
                    let Some(result) = body.chunk().await.transpose() else { return };
                    if let Ok(chunk) = &result {
                        count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                        let Ok(permit) = space.acquire_many(permits(chunk) as u32).await else { return };
                        permit.forget();
                    }
                    let failed = result.is_err();
                    if sender.send(result).await.is_err() || failed {
                        return;
                    }
                }
            })
            .abort_handle();
        let url = public_url(url);
        let abandoned = || Error::Abandoned { url: url.clone() };
        let length = opened.blocking_recv().map_err(|_| abandoned())??;
        Ok(Self { url, length, current: Bytes::new(), chunks, task, received, parts, room, held: 0 })
    }

    /// Length of the whole file in bytes, where the server told it.
    pub fn len(&self) -> Option<u64> {
        self.length
    }

    /// Whether the server said that there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// How many parts of the file were asked for so far, one after the other; a part that was asked for again counts once. The count outlives the download.
    pub fn parts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.parts)
    }

    /// Bytes of the file that arrived so far, read or waiting to be read. The count outlives the download.
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }
}

impl Read for Download {
    /// Errors wrap [`Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !buffer.is_empty() {
            self.room.add_permits(std::mem::take(&mut self.held));
            match self.chunks.blocking_recv() {
                Some(chunk) => {
                    self.current = chunk.map_err(io::Error::other)?;
                    self.held = permits(&self.current);
                }
                // An aborted task closes the channel as a finished one does.
                None if self.length.is_none_or(|length| length == self.received.load(Ordering::Relaxed)) => {
                    return Ok(0);
                }
                None => return Err(io::Error::other(Error::Abandoned { url: self.url.clone() })),
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}
