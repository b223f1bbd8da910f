//! The cache of earlier downloads, shared by everything on the machine.
//!
//! ```text
//! blobs/sha256/ab/abcd….btf                            raw BTF, named by its digest
//! kernels/build-id/HEX.json                            whose BTF it is: a Record
//! kernels/key/DISTRO/VERSION/ARCH/RELEASE.json         the same, for kernels without a known build-id
//! misses/HEX.json                                      what an archive does not have: see `misses`
//! download.lock                                        locked while something is downloaded
//! ```
//!
//! A reader takes nothing for granted: the bytes must have the checksum in the record, or the entry counts as missing
//! and the next download replaces it. The checksum is XXH3, which takes a tenth of the time of sha256: it tells damage,
//! as sha256 told forgery when the blob was downloaded. Who may write to the cache could change a sha256 in a record
//! too; against them stand the directory's permissions. Files are written under a temporary name and renamed, blobs
//! before records, so that no reader sees half of one. Nobody waits for the disk: what a crash of the machine cuts short has
//! another checksum.

use std::fs::{self, File, TryLockError};
use std::hash::Hasher as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use btf_archive::{BuildId, Digest, Key};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::atomic::write_checked_file;
use crate::kernel::is_absence;
use crate::remote::Download;
use crate::{Address, Kernel, Reason};

/// The layout described above. Format 1 had no checksum.
const FORMAT: u32 = 2;
/// A record has a few hundred bytes; this much is read.
const MAX_RECORD: u64 = 1 << 16;
/// How much of a blob is read at once where it is only checked: what fits the processor's second cache.
const PIECE: usize = 128 << 10;
/// A blob used again is marked as used no more often than this: a write for each use would be too much.
const USED: Duration = Duration::from_secs(3600);
/// How often a busy lock is tried again.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What is known about a cached blob.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// The digest of the raw BTF.
    digest: Digest,
    /// XXH3 (64 bits) of the raw BTF.
    xxh3: u64,
    /// Its kernel's key, where the archive told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// Its kernel's build-id, where the archive told or was asked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build_id: Option<BuildId>,
    /// Which archive gave it.
    archive: String,
    /// When, in seconds since 1970 (UTC).
    fetched: u64,
}

/// A blob out of the cache.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) raw: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
    pub(crate) key: Option<Key>,
    pub(crate) build_id: Option<BuildId>,
}

/// A directory of earlier downloads.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    /// How many bytes of blobs are kept.
    size: u64,
}

/// Held while downloading; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Cache {
    pub(crate) fn new(dir: PathBuf, size: u64) -> Self {
        Self { dir, size }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The BTF of a kernel, its checksum checked.
    ///
    /// # Errors
    /// [`Reason::Absent`], [`Reason::CacheDamaged`], [`Reason::Io`].
    pub(crate) fn read(&self, kernel: &Kernel, max_size: usize) -> Result<Cached, Reason> {
        let mut reason = Reason::Absent;
        for index in self.indexes(kernel) {
            match self.entry(&index, kernel, max_size) {
                Err(Reason::Absent) => {}
                Err(other) => reason = other,
                Ok(cached) => return Ok(cached),
            }
        }
        Err(reason)
    }

    /// The records that may name a kernel's blob. A known build-id is the only one: under the same name there may
    /// have been another kernel when the record was written.
    fn indexes(&self, kernel: &Kernel) -> Vec<PathBuf> {
        match kernel.build_id() {
            Some(build_id) => vec![self.by_build_id(build_id)],
            None => kernel.keys().iter().map(|key| self.by_key(key)).collect(),
        }
    }

    fn by_build_id(&self, build_id: &BuildId) -> PathBuf {
        self.dir.join(format!("kernels/build-id/{build_id}.json"))
    }

    fn by_key(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("kernels/key/{key}.json"))
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.dir.join(format!("blobs/sha256/{}/{hex}.btf", &hex[..2]))
    }

    /// The blob of a kernel, its checksum checked without keeping the bytes: path, size, build-id. `None` for anything
    /// that [`Cache::read`] would have to tell of.
    pub(crate) fn verify(&self, kernel: &Kernel, max_size: usize) -> Option<(PathBuf, u64, Option<BuildId>)> {
        let record = self.indexes(kernel).iter().find_map(|index| self.record(index, kernel).ok())?;
        let path = self.blob(&record.digest);
        let mut file = File::open(&path).ok()?;
        let (mut hasher, mut piece, mut size) = (XxHash3_64::new(), [0; PIECE], 0);
        loop {
            let len = file.read(&mut piece).ok()?;
            if len == 0 {
                break;
            }
            size += len as u64;
            hasher.write(&piece[..len]);
        }
        if hasher.finish() != record.xxh3 || size > max_size as u64 {
            return None;
        }
        mark_used(&path);
        Some((path, size, record.build_id))
    }

    /// The record of an index, if it is what it should be.
    fn record(&self, index: &Path, kernel: &Kernel) -> Result<Record, Reason> {
        let damaged = |text: String| Reason::CacheDamaged(format!("{}: {text}", index.display()));
        let record = read(index, MAX_RECORD)?.ok_or_else(|| damaged("too large for a record".to_owned()))?;
        let record: Record = serde_json::from_slice(&record).map_err(|error| damaged(error.to_string()))?;
        if record.format != FORMAT {
            return Err(damaged(format!("format {}, known is {FORMAT}", record.format)));
        }
        if let (Some(wanted), Some(found)) = (kernel.build_id(), &record.build_id)
            && wanted != found
        {
            return Err(damaged(format!("it is of build-id {found}")));
        }
        Ok(record)
    }

    fn entry(&self, index: &Path, kernel: &Kernel, max_size: usize) -> Result<Cached, Reason> {
        let record = self.record(index, kernel)?;
        let path = self.blob(&record.digest);
        let raw = match read(&path, max_size as u64) {
            Ok(raw) => raw.ok_or(Reason::TooLarge { limit: max_size })?,
            Err(Reason::Absent) => {
                return Err(Reason::CacheDamaged(format!("{}: its blob is missing", index.display())));
            }
            Err(reason) => return Err(reason),
        };
        let found = XxHash3_64::oneshot(&raw);
        if found != record.xxh3 {
            return Err(Reason::CacheDamaged(format!("{}: its bytes are not those written", path.display())));
        }
        mark_used(&path);
        Ok(Cached { raw, digest: record.digest, path, key: record.key, build_id: record.build_id })
    }

    /// Keeps a download for the kernel it was asked for, and for the kernel that the archive says it is of.
    ///
    /// The result is the blob's path.
    pub(crate) fn store(
        &self,
        download: &Download,
        kernel: &Kernel,
        archive: &Address,
    ) -> io::Result<PathBuf> {
        let blob = self.store_blob(&download.raw, &download.digest)?;
        let fetched = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let record = Record {
            format: FORMAT,
            digest: download.digest,
            xxh3: XxHash3_64::oneshot(&download.raw),
            key: download.key.clone(),
            build_id: download.build_id,
            archive: archive.to_string(),
            fetched,
        };
        let json = serde_json::to_vec(&record)?;
        let mut indexes = self.indexes(kernel);
        // Of several keys the likeliest is enough to find it again.
        indexes.truncate(1);
        indexes.extend(download.build_id.map(|build_id| self.by_build_id(&build_id)));
        indexes.dedup();
        for index in &indexes {
            keep(index, &json)?;
        }
        self.shrink(&blob);
        Ok(blob)
    }

    /// Deletes what was not used for longest until the blobs have no more bytes than allowed; `newest` stays.
    ///
    /// What cannot be deleted stays: the next download tries again.
    fn shrink(&self, newest: &Path) {
        let mut blobs = Vec::new();
        let mut total = 0;
        each_file(&self.dir.join("blobs/sha256"), 1, &mut |path, metadata| {
            total += metadata.len();
            blobs.push((metadata.modified().unwrap_or(UNIX_EPOCH), metadata.len(), path));
        });
        if total <= self.size {
            return;
        }
        blobs.sort();
        for (_, len, path) in blobs {
            if total <= self.size {
                break;
            }
            if path != newest && fs::remove_file(&path).is_ok() {
                total -= len;
            }
        }
        // Records of what went would be told as damage.
        each_file(&self.dir.join("kernels"), 5, &mut |path, _| {
            let record = fs::read(&path).ok().and_then(|json| serde_json::from_slice::<Record>(&json).ok());
            if record.is_none_or(|record| !self.blob(&record.digest).exists()) {
                let _ = fs::remove_file(path);
            }
        });
    }

    /// Keeps raw BTF under its digest.
    pub(crate) fn store_blob(&self, raw: &[u8], digest: &Digest) -> io::Result<PathBuf> {
        let path = self.blob(digest);
        keep(&path, raw)?;
        Ok(path)
    }

    /// Waits until no other process downloads into this cache.
    ///
    /// Where the cache cannot be written nothing will be kept either, and there is nothing to wait for.
    ///
    /// # Errors
    /// [`Reason::Busy`] when it takes longer than `patience`.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Lock, Reason> {
        let path = self.dir.join("download.lock");
        let open = || File::options().create(true).truncate(false).write(true).open(&path);
        let Ok(file) = fs::create_dir_all(&self.dir).and_then(|()| open()) else {
            return Ok(Lock { _file: None });
        };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: Some(file) }),
                Err(TryLockError::Error(_)) => return Ok(Lock { _file: None }),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    return Err(Reason::Busy(path));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            }
        }
    }
}

/// Notes that a blob was used, so that it is not the next to go. Where the cache is another user's it is not noted.
fn mark_used(path: &Path) {
    let now = SystemTime::now();
    let used = fs::metadata(path).and_then(|metadata| metadata.modified());
    if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > USED))
        && let Ok(file) = File::open(path)
    {
        let _ = file.set_modified(now);
    }
}

/// Calls `visit` with each file below a directory, at most `depth` directories down.
fn each_file(dir: &Path, depth: usize, visit: &mut dyn FnMut(PathBuf, fs::Metadata)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => visit(entry.path(), metadata),
            Ok(metadata) if metadata.is_dir() && depth > 0 => each_file(&entry.path(), depth - 1, visit),
            _ => {}
        }
    }
}

/// All bytes of a file, `None` if it has more than `max`.
fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, Reason> {
    let mut bytes = Vec::new();
    let mut file =
        File::open(path).map_err(|error| if is_absence(&error) { Reason::Absent } else { error.into() })?;
    let len = file.metadata()?.len();
    if len > max {
        return Ok(None);
    }
    bytes.reserve_exact(usize::try_from(len).unwrap_or(0));
    (&mut file).take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// Writes a file of the cache, with the directories it lies in.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    write_checked_file(path, bytes)
}
