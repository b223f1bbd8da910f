//! `mirror.json`: what a copy of somebody else's archive promises to hold, and whom it believes.
//!
//! A copy has the snapshots of its original to the byte, also where it holds only some of the blobs. This file, its own, says which: the others are
//! not lost. It also remembers the pinned roots and the newest that was taken, so that no later copying is talked into anything else.

use serde::{Deserialize, Serialize};

use crate::select::Selection;
use crate::trust::{PublicKey, Seen};
use crate::{Error, Result};

/// The path of the file in an archive.
pub const PATH: &str = "mirror.json";

/// The most bytes it may have.
pub const MAX: usize = 64 << 20;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// How many lapses are kept.
const LAPSES: usize = 100;

/// What a copy of an archive is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    format: u32,
    /// The oldest snapshot that is there: those before it were not copied.
    pub oldest: u64,
    /// The kernels whose blobs are there. Of the newest snapshot's others there may be none.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub selection: Selection,
    /// The root keys that were pinned when it was first copied; none if it is not signed, or nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<PublicKey>,
    /// The newest that was taken.
    pub seen: Seen,
    /// What was let pass although a key's time was over, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapses: Vec<Lapse>,
}

/// A snapshot that was taken although its signature's time was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapse {
    /// The snapshot's number.
    pub snapshot: u64,
    /// When it was taken, in seconds since 1970 (UTC), by this machine's clock.
    pub at: u64,
    /// What was let pass.
    pub reason: String,
}

impl Mirrored {
    /// A copy that promises everything from this snapshot on.
    pub fn new(oldest: u64) -> Self {
        Self {
            format: FORMAT,
            oldest,
            selection: Selection::default(),
            roots: Vec::new(),
            seen: Seen::default(),
            lapses: Vec::new(),
        }
    }

    /// Records what was let pass, once for each snapshot.
    pub fn lapsed(&mut self, lapse: Lapse) {
        self.lapses.retain(|known| known.snapshot != lapse.snapshot);
        self.lapses.push(lapse);
        let surplus = self.lapses.len().saturating_sub(LAPSES);
        self.lapses.drain(..surplus);
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if they are more than a reader takes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(wrong)?;
        json.push(b'\n');
        if json.len() > MAX { Err(wrong("larger than 64 MiB")) } else { Ok(json) }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn decode(json: &[u8]) -> Result<Self> {
        let found: Self = serde_json::from_slice(json).map_err(wrong)?;
        match found.format {
            FORMAT => Ok(found),
            format => {
                Err(wrong(format!("format {format} is none that this program reads: it may be too old")))
            }
        }
    }
}

fn wrong(reason: impl ToString) -> Error {
    Error::Snapshot { what: PATH, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the file is read as it was written, and that of many lapses the newest are kept, each snapshot's once.
    #[test]
    fn mirrored_round() {
        let mut mirrored = Mirrored::new(7);
        mirrored.selection.select = "distro=debian release>=4.18".parse().unwrap();
        for number in 0..300 {
            for at in 0..2 {
                mirrored.lapsed(Lapse { snapshot: number, at, reason: "expired".to_owned() });
            }
        }
        assert_eq!(mirrored.lapses.len(), LAPSES);
        assert!(mirrored.lapses.iter().all(|lapse| lapse.at == 1 && lapse.snapshot >= 200));
        let json = mirrored.encode().unwrap();
        assert_eq!(Mirrored::decode(&json).unwrap(), mirrored);
        let newer = String::from_utf8(json).unwrap().replacen("\"format\": 1", "\"format\": 2", 1);
        assert!(Mirrored::decode(newer.as_bytes()).unwrap_err().to_string().contains("too old"));
    }
}
