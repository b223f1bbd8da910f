//! How much is done at once and what is accepted: the options that `sync` and `work` share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use btf_archive::store::{self, Archive};
use btf_archive::trust::SigningKey;
use btfgen::distro::{ClientCertificate, Distros};
use btfgen::fetch;
use btfgen::sync::{Effort, Rule};
use tokio::runtime::Runtime;

/// What one kernel takes at most: its compressed vmlinux, and the conversion.
const PER_KERNEL: u64 = 700 << 20;

/// Options for how much is done at once.
#[derive(clap::Args)]
pub(crate) struct EffortArgs {
    /// Kernels worked on at once [default: 1 for each 2 processors, at most 4, and what --memory allows]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// Memory that all of it may take, such as 2G; a kernel takes up to 700M.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Requests at once, over all servers; to one server at most 6.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Bytes per second to fetch at most, such as 10M [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = size)]
    bandwidth: Option<u64>,
    /// What is checked of a package: that a signed index names it, reading no more than needed; or its signed hash, reading all of it.
    #[arg(long, value_enum, default_value_t = Verify::Index)]
    verify: Verify,
    /// Refuse kernels whose origin is verified less than that: none, transport (fetched over https), signed-index, or signed-package; DISTRO=LEVEL or DISTRO/SUITE=LEVEL
    /// says it of one distribution or suite. May be repeated [default: none]
    #[arg(long, value_name = "LEVEL", value_delimiter = ',', env = "BTFGEN_REQUIRE_TRUST")]
    require_trust: Vec<Rule>,
    /// Make the split BTF of all modules too.
    #[arg(long)]
    modules: bool,
    /// Seconds after which others take over what a worker without a sign of life was at.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    lease: u16,
}

/// How far a package is verified.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Verify {
    /// Named by a signed index.
    Index,
    /// Read wholly, its signed hash checked.
    Full,
}

impl EffortArgs {
    /// What the library is told. `replace` is the reason for which digests may change.
    pub(crate) fn effort(
        &self,
        client: &fetch::Client,
        distros: &Distros,
        replace: Option<String>,
    ) -> anyhow::Result<Effort> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = self.jobs.map_or((processors / 2).clamp(1, 4), usize::from);
        let fitting =
            self.memory.map_or(wanted, |memory| usize::try_from(memory / PER_KERNEL).unwrap_or(wanted));
        let kernels = wanted.min(fitting).max(1);
        let share = self.memory.map_or(1 << 30, |memory| memory / kernels as u64);
        Ok(Effort {
            kernels,
            threads: (processors / kernels).max(1),
            memory: share.min(1 << 30),
            whole: self.verify == Verify::Full,
            modules: self.modules,
            require: self.require_trust.iter().cloned().collect(),
            replace,
            lease: Duration::from_secs(self.lease.into()),
            certified: certified(client, distros)?,
        })
    }

    /// A client within the limits, and the runtime that its downloads run on.
    pub(crate) fn network(&self) -> anyhow::Result<(Runtime, fetch::Client)> {
        super::allocator::give_back_freed_memory();
        let runtime = Runtime::new().context("cannot start the runtime")?;
        let mut options = fetch::Options { bandwidth: self.bandwidth, ..fetch::Options::default() };
        options.connections = self.connections.into();
        options.connections_per_host = options.connections_per_host.min(options.connections);
        let client = fetch::Client::new(runtime.handle().clone(), options)?;
        Ok((runtime, client))
    }
}

/// The clients for distributions whose servers want a certificate, where this machine has one.
fn certified(client: &fetch::Client, distros: &Distros) -> anyhow::Result<HashMap<String, fetch::Client>> {
    let mut clients = HashMap::new();
    for distro in distros.all() {
        let certificate = distro.client_certificate.as_ref().and_then(ClientCertificate::installed);
        if let Some(certificate) = certificate {
            clients.insert(distro.id.clone(), certificate.client(client).map_err(anyhow::Error::msg)?);
        }
    }
    Ok(clients)
}

/// Which archive, and where its catalog is.
#[derive(clap::Args)]
pub(crate) struct ArchiveArgs {
    /// The archive: a directory, or a bucket as s3://BUCKET/PREFIX (gs://…, az://…), whose account is in the environment.
    #[arg(long, value_name = "DIR|URL")]
    archive: PathBuf,
    /// The archive's catalog: postgres://USER@HOST/DATABASE, or the path of an SQLite file [default: in the archive's directory]
    #[arg(long, value_name = "URL|FILE", env = "BTF_ARCHIVE_CATALOG", hide_env_values = true)]
    pub(crate) catalog: Option<String>,
    /// The snapshot key that signs what is published: a file of `btf-archive-server keys new`; a signed archive needs it.
    #[arg(long, value_name = "FILE", env = "BTF_ARCHIVE_SIGNING_KEY")]
    signing_key: Option<PathBuf>,
}

impl ArchiveArgs {
    /// The archive, made if it does not exist.
    pub(crate) async fn create(&self) -> Result<Archive, store::Error> {
        self.signing(Archive::create_with(&self.archive, self.catalog.as_deref()).await?)
    }

    /// The archive, which must exist.
    pub(crate) async fn open(&self) -> Result<Archive, store::Error> {
        self.signing(Archive::open_with(&self.archive, self.catalog.as_deref()).await?)
    }

    fn signing(&self, mut archive: Archive) -> Result<Archive, store::Error> {
        if let Some(file) = &self.signing_key {
            archive.sign_with(SigningKey::load_plain(file)?);
        }
        Ok(archive)
    }

    /// Whether it is no directory, or an empty one.
    pub(crate) fn is_free(&self) -> bool {
        std::fs::read_dir(&self.archive).map_or(true, |mut entries| entries.next().is_none())
    }

    /// For messages.
    pub(crate) fn named(&self) -> String {
        format!("archive {}", self.archive.display())
    }
}

/// A number of bytes: `1500`, `700M`, `2G`, `1.5GiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| "needs a number, such as 700M or 2G".to_owned())?;
    let factor = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1_u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(format!("{unit:?} is no unit of bytes: K, M, G or T")),
    };
    let bytes = number * factor as f64;
    if !(1.0..=1e18).contains(&bytes) {
        return Err("is out of range".to_owned());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which sizes are understood.
    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1500", 1500), ("700M", 700 << 20), ("2G", 2 << 30), ("1.5GiB", 3 << 29), ("4 kb", 4096)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "0", "1X", "1e9", "99999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
