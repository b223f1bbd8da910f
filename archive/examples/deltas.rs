//! Sizes and times of an archive's blobs, for `ci/bench archive`: `deltas ARCHIVE FOLDER`.
//!
//! One line of JSON for each kernel of the newest snapshot; its raw BTF is written to the folder. Times are the best of some runs on one core, in
//! milliseconds: reading it from the bytes as stored, with all that it is made on; and making it on its base again.

use std::path::Path;
use std::time::{Duration, Instant};

use btf_archive::delta::{self, Base, Header};
use btf_archive::reader::Reader;
use btf_archive::{Digest, blob};

/// How often each is run.
const RUNS: usize = 7;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [archive, folder] = arguments.as_slice() else { return Err("usage: deltas ARCHIVE FOLDER".into()) };
    let reader = Reader::open(archive)?;
    let snapshot = reader.snapshot()?;
    for kernel in &snapshot.kernels {
        let raw = reader.blob(&kernel.digest)?;
        let file = Path::new(folder).join(format!("{}.btf", kernel.key.to_string().replace('/', "_")));
        std::fs::write(&file, &raw)?;
        let files = files(Path::new(archive), &kernel.digest)?;
        let decoding = best(|| decode(&files))?;
        if decode(&files)? != raw {
            return Err(format!("{}: other bytes came out", kernel.key).into());
        }
        let encoding = match &kernel.base {
            None => best(|| Ok(blob::compress_keyframe(&raw)))?,
            Some(digest) => {
                let depth = files.len() as u8 - 2;
                let base = reader.blob(digest)?;
                let base = Base { digest: *digest, depth, raw: &base };
                best(|| delta::encode(base, &kernel.digest, &raw).ok_or_else(|| "none".into()))?
            }
        };
        let base = kernel.base.and_then(|base| snapshot.kernels.iter().find(|other| other.digest == base));
        let line = serde_json::json!({
            "kernel": kernel.key,
            "source": kernel.provenance.source,
            "digest": kernel.digest,
            "raw": raw.len(),
            "stored": kernel.zst_size,
            "depth": files.len() - 1,
            "base": base.map(|base| &base.key),
            "decode": decoding.as_secs_f64() * 1e3,
            "encode": encoding.as_secs_f64() * 1e3,
            "file": file,
        });
        println!("{line}");
    }
    Ok(())
}

/// A blob's file and those that it is made on.
fn files(archive: &Path, digest: &Digest) -> Result<Vec<Vec<u8>>, Failure> {
    let mut files = Vec::new();
    let mut next = *digest;
    while let Ok(delta) = std::fs::read(archive.join(blob::delta_path(&next))) {
        next = Header::parse(&delta)?.base;
        files.push(delta);
    }
    files.push(std::fs::read(archive.join(blob::path(&next)))?);
    Ok(files)
}

/// The raw bytes of a blob, checked.
fn decode(files: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
    let [deltas @ .., whole] = files else { return Err("no file".into()) };
    let mut raw = blob::decompress(whole, blob::MAX_RAW)?;
    for (at, delta) in deltas.iter().enumerate().rev() {
        let decode = if at == 0 { delta::decode } else { delta::unverified };
        raw = decode(&raw, delta, blob::MAX_RAW)?;
    }
    Ok(raw)
}

fn best<T>(mut work: impl FnMut() -> Result<T, Failure>) -> Result<Duration, Failure> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let begin = Instant::now();
        std::hint::black_box(work()?);
        best = best.min(begin.elapsed());
    }
    Ok(best)
}
