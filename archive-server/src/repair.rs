//! Mending an archive from copies of it: mirrors, backups, the archive it is itself a mirror of.
//!
//! What is damaged or missing is asked of each copy in turn, as it is stored; every byte is checked before it takes its place. A blob that no copy
//! has in the same form is written anew from any form. What becomes known with a mended snapshot is looked at in the next round.

use std::sync::Arc;

use btf_archive::reader::Reader;
use btf_archive::store::{Archive, Damage, Error, Pace, Scrubbed};
use btf_archive::{Digest, blob};
use serde::Serialize;

/// What became of one damaged object.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Mended {
    /// Its path in the archive.
    pub path: String,
    /// What was wrong with it.
    pub damage: String,
    /// The copy that mended it; none if none could.
    pub from: Option<String>,
    /// Why copies could not, each after its name.
    pub refused: Vec<String>,
}

/// A copy of the archive.
#[derive(Clone, Debug)]
pub struct Copy {
    name: String,
    reader: Arc<Reader>,
}

impl Copy {
    /// A copy at a directory or an http(s) address.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open(location: &str) -> Result<Self, btf_archive::reader::Error> {
        let name = btf_archive::Provenance::public_url(location);
        Ok(Self { name, reader: Arc::new(Reader::open(location)?) })
    }
}

/// Finds what is damaged, and mends it from these copies; gives each damaged object once, in order of the paths.
///
/// # Errors
/// Those of [`Archive::scrub`], and of a store that cannot be written.
pub async fn repair(
    archive: &Archive,
    copies: &[Copy],
    pace: Pace,
    mut told: impl FnMut(Scrubbed),
) -> Result<Vec<Mended>, Error> {
    let mut all: Vec<Mended> = Vec::new();
    loop {
        let damage = archive.scrub(pace, &mut told).await?;
        let mut progress = false;
        for damage in damage {
            // What no copy could mend in the round before, none can in this.
            if all.iter().any(|mended| mended.path == damage.path && mended.from.is_none()) {
                continue;
            }
            let mended = mend(archive, copies, &damage).await?;
            progress |= mended.from.is_some();
            all.push(mended);
        }
        if !progress {
            break;
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

async fn mend(archive: &Archive, copies: &[Copy], damage: &Damage) -> Result<Mended, Error> {
    let mut mended =
        Mended { path: damage.path.clone(), damage: damage.reason.clone(), from: None, refused: Vec::new() };
    for copy in copies {
        match mend_from(archive, copy, damage).await? {
            Ok(()) => {
                mended.from = Some(copy.name.clone());
                break;
            }
            Err(reason) => mended.refused.push(format!("{}: {reason}", copy.name)),
        }
    }
    Ok(mended)
}

/// Mends from one copy, or says why it cannot.
async fn mend_from(archive: &Archive, copy: &Copy, damage: &Damage) -> Result<Result<(), String>, Error> {
    let (reader, path) = (Arc::clone(&copy.reader), damage.path.clone());
    let reason = match blocking(move || reader.object(&path, blob::MAX_ZST)).await {
        Ok(Some(bytes)) => match archive.heal(damage, bytes.into()).await {
            Ok(()) => return Ok(Ok(())),
            // It is the copy that is bad, or cannot be judged.
            Err(error @ (Error::Object { .. } | Error::Query { .. } | Error::Missing { .. })) => {
                error.to_string()
            }
            Err(error) => return Err(error),
        },
        Ok(None) => "does not have it".to_owned(),
        Err(error) => error.to_string(),
    };
    let Some(digest) = digest_of(&damage.path) else { return Ok(Err(reason)) };
    let reader = Arc::clone(&copy.reader);
    match blocking(move || reader.blob(&digest)).await {
        Ok(raw) => archive.restore_blob(&digest, raw.into()).await.map(Ok),
        Err(_) => Ok(Err(reason)),
    }
}

/// The blob that lies there, in whatever form.
fn digest_of(path: &str) -> Option<Digest> {
    let (_, name) = path.strip_prefix("blobs/")?.rsplit_once('/')?;
    name.split_once('.')?.0.parse().ok()
}

/// Runs what blocks beside the async tasks. A panic in it goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking work is cancelled only when its runtime shuts down, and then nobody waits here.
            Err(cancelled) => unreachable!("{cancelled}"),
        },
    }
}
