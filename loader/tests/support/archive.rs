//! A real archive, served by the real service.

use std::path::Path;
use std::time::Duration;

use btf_archive::store::{self, KernelDraft};
use btf_archive::{Provenance, Source, Trust};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A kernel that is not the host's, but near.
pub(crate) const OLDER: &str = "debian/11/x86_64/5.10.0-29-amd64";

/// An archive on loopback; lives as long as this value.
pub(crate) struct Archive {
    url: String,
    _runtime: Runtime,
    dir: TempDir,
}

impl Archive {
    /// An archive with these kernels: key, build-id, BTF.
    pub(crate) fn with(kernels: &[(&str, Option<&str>, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(async {
            let archive = store::Archive::create(dir.path()).await.unwrap();
            for (key, build_id, raw) in kernels {
                let draft = KernelDraft {
                    key: key.parse().unwrap(),
                    build_id: build_id.map(|hex| hex.parse().unwrap()),
                    provenance: Provenance {
                        package: None,
                        package_version: None,
                        url: None,
                        sha256: None,
                        trust: Trust::None,
                        source: Source::Upload,
                        generator: "test".to_owned(),
                    },
                    digest: None,
                };
                archive.add(draft, raw.to_vec()).await.unwrap();
            }
            archive.publish().await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            (archive, listener)
        });
        let (archive, listener) = listener;
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = btf_archive_server::Options {
            deadline: Duration::from_secs(30),
            grace: Duration::ZERO,
            connections: 64,
            refresh: Duration::from_secs(60),
            scrub: None,
        };
        runtime.spawn(btf_archive_server::serve(archive, listener, options, std::future::pending()));
        Self { url, _runtime: runtime, dir }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The directory it lies in.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}
