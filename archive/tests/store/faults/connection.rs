//! A connection to S3 that is lost, at every stage of the work: once, or for good.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use btf_archive::store::Archive;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{check_done, check_whole, prepare, work};
use crate::{s3_server, store};

/// At how many places of the work the connection is lost.
const STEPS: i64 = 7;

/// A proxy that passes on so many bytes, counted in both directions, then cuts every connection; and afterwards either takes new ones,
/// or none any more.
struct Proxy {
    endpoint: String,
    left: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(to: String, bytes: i64, for_good: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let left = Arc::new(AtomicI64::new(bytes));
        let cut = Arc::new(AtomicBool::new(false));
        let budget = Arc::clone(&left);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if cut.load(Ordering::SeqCst) && for_good {
                    continue;
                }
                let Ok(server) = TcpStream::connect(to.trim_start_matches("http://")).await else { continue };
                let (left, cut) = (Arc::clone(&budget), Arc::clone(&cut));
                tokio::spawn(async move {
                    let _ = pass(client, server, &left, &cut).await;
                });
            }
        });
        Self { endpoint, left, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on in both directions until either side ends or the budget does. What was cut once is passed on without a budget.
async fn pass(client: TcpStream, server: TcpStream, left: &AtomicI64, cut: &AtomicBool) -> io::Result<()> {
    let budgeted = !cut.load(Ordering::SeqCst);
    let (mut client, mut server) = (client, server);
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        let (bytes, to) = tokio::select! {
            read = client.read(&mut up) => (&up[..read?], &mut server),
            read = server.read(&mut down) => (&down[..read?], &mut client),
        };
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let before = left.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
        if budgeted && before < bytes.len() as i64 {
            to.write_all(&bytes[..usize::try_from(before).unwrap_or(0)]).await?;
            cut.store(true, Ordering::SeqCst);
            for stream in [client, server] {
                let _ = stream.into_std().and_then(|stream| stream.shutdown(Shutdown::Both));
            }
            return Ok(());
        }
        to.write_all(bytes).await?;
    }
}

/// Check that wherever the connection is lost, the newest snapshot is whole, and that the work completes when it is there again.
#[tokio::test(flavor = "multi_thread")]
async fn faults_lost_connection() {
    let mut total = None;
    for for_good in [false, true] {
        for step in 0..STEPS {
            let root = tempfile::tempdir().unwrap();
            let catalog = root.path().join("catalog.sqlite");
            let catalog = catalog.to_str().unwrap();
            let bucket = s3_server::bucket();
            let archive = Archive::on_store(store(&bucket), catalog).await.unwrap();
            prepare(&archive).await.unwrap();
            archive.close().await;

            // The first time nothing is cut, to know how many bytes there are.
            let bytes = total.map_or(i64::MAX, |total: i64| total * step / STEPS);
            let proxy = Proxy::start(bucket.endpoint().to_owned(), bytes, for_good).await;
            let done = match Archive::on_store(store(&bucket.at(&proxy.endpoint)), catalog).await {
                Ok(archive) => {
                    let done = work(&archive).await;
                    archive.close().await;
                    done
                }
                Err(error) => Err(error),
            };
            match total {
                None => {
                    done.unwrap();
                    total = Some(i64::MAX - proxy.left.load(Ordering::SeqCst));
                }
                Some(_) => assert!(!for_good || done.is_err(), "{bytes}"),
            }
            drop(proxy);
            let archive = Archive::on_store(store(&bucket), catalog).await.unwrap();
            check_whole(&archive).await;
            work(&archive).await.unwrap();
            check_done(&archive).await;
        }
    }
    assert!(total.unwrap() > 10_000);
}
