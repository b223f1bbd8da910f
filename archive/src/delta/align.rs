//! Which type of the base became which new one.
//!
//! Types are recognised by what they say, not by their numbers: a hash of a record's words in which a name is a known string and a reference the kind and name of what
//! it leads to. What has no name is told apart by what it leads to itself, a few steps deep. Equal hashes are matched in order, with a preference for the
//! neighbour of what was matched last, which makes long runs; what is left is matched by name, or by its place between neighbours.

use super::encode::Blob;
use super::view::{kind_of, replace};

/// How far the identity of a type without a name is followed.
const ROUNDS: usize = 3;
/// How many equal types are tried for one that is free.
const TRIES: usize = 64;

/// Hashes of all types of a blob, by id, from the most precise to the least.
struct Identities {
    deep: Vec<u64>,
    shallow: Vec<u64>,
    /// Kind and name, for types that have one; else 0.
    named: Vec<u64>,
}

/// For each new id the base's that became it; 0 for none. Names of both must be offsets of known strings.
pub(super) fn align(base: &Blob<'_>, new: &Blob<'_>) -> Vec<u32> {
    let (of_base, of_new) = (Identities::new(base), Identities::new(new));
    let mut matches = Matches { base, new, base_of: vec![0; new.ids()], used: vec![false; base.ids()] };
    matches.by_hash(&of_base.deep, &of_new.deep);
    matches.by_neighbours(&of_base.named, &of_new.named);
    matches.by_hash(&of_base.shallow, &of_new.shallow);
    matches.by_hash(&of_base.named, &of_new.named);
    matches.by_neighbours(&of_base.named, &of_new.named);
    matches.base_of
}

struct Matches<'a> {
    base: &'a Blob<'a>,
    new: &'a Blob<'a>,
    base_of: Vec<u32>,
    used: Vec<bool>,
}

impl Matches<'_> {
    /// Matches types of equal hashes; 0 is no hash.
    fn by_hash(&mut self, base: &[u64], new: &[u64]) {
        let is_free = |id: usize| base[id] != 0 && !self.used[id];
        let mut index: Vec<(u64, u32)> =
            (1..base.len()).filter(|id| is_free(*id)).map(|id| (base[id], id as u32)).collect();
        index.sort_unstable();
        let mut last = 0_usize;
        for (id, &hash) in new.iter().enumerate().skip(1) {
            if self.base_of[id] != 0 {
                last = self.base_of[id] as usize;
                continue;
            }
            if hash == 0 {
                continue;
            }
            let next = last + 1;
            if next < base.len() && base[next] == hash && !self.used[next] {
                self.take(id, next);
                last = next;
                continue;
            }
            let ahead = index.partition_point(|entry| *entry < (hash, next as u32));
            let first = index.partition_point(|entry| *entry < (hash, 0));
            let equal = |entry: &&(u64, u32)| entry.0 == hash;
            let behind = index[ahead..].iter().take_while(equal).take(TRIES);
            let before = index[first..ahead].iter().take_while(equal).take(TRIES);
            let found = behind.chain(before).map(|entry| entry.1 as usize).find(|id| !self.used[*id]);
            if let Some(found) = found {
                self.take(id, found);
                last = found;
            }
        }
    }

    /// Matches types between matched ones: of the same kind, and of the same name or none.
    fn by_neighbours(&mut self, base: &[u64], new: &[u64]) {
        let forward = (2..new.len()).map(|id| (id, id - 1, 1));
        let backward = (1..new.len().saturating_sub(1)).rev().map(|id| (id, id + 1, -1));
        for (id, neighbour, step) in forward.chain(backward) {
            let beside = self.base_of[neighbour] as isize;
            if self.base_of[id] != 0 || beside == 0 {
                continue;
            }
            let candidate = (beside + step) as usize;
            if candidate == 0 || candidate >= base.len() || self.used[candidate] {
                continue;
            }
            let kind = |words: &[u32]| words.get(1).map(|info| kind_of(*info));
            if base[candidate] == new[id] && kind(self.base.record(candidate)) == kind(self.new.record(id)) {
                self.take(id, candidate);
            }
        }
    }

    fn take(&mut self, id: usize, base: usize) {
        self.base_of[id] = base as u32;
        self.used[base] = true;
    }
}

impl Identities {
    fn new(view: &Blob<'_>) -> Self {
        let mut labels = Vec::with_capacity(view.ids());
        let mut named = Vec::with_capacity(view.ids());
        for id in 0..view.ids() {
            let record = view.record(id);
            let (name, info) = (record.first().copied().unwrap_or(0), record.get(1).copied().unwrap_or(0));
            let label = mix(u64::from(name), kind_of(info) as u64 + 1);
            labels.push(label);
            named.push(if name == 0 { 0 } else { label });
        }
        // Which ids have to be followed: those without a name.
        let mut follow = Vec::new();
        let mut ends = Vec::with_capacity(view.ids());
        let mut shallow = Vec::with_capacity(view.ids());
        let mut copy = Vec::new();
        for id in 0..view.ids() {
            copy.clear();
            copy.extend_from_slice(view.record(id));
            let mut hash = 0;
            let follow_type = |ty: u32| {
                let at = ty as usize;
                hash = mix(hash, labels.get(at).copied().unwrap_or(1));
                if named.get(at) == Some(&0) && at != 0 {
                    follow.push(ty);
                }
                0
            };
            replace(&mut copy, follow_type, |name| name);
            for pair in copy.chunks(2) {
                let pair = u64::from(pair[0]) << 32 | u64::from(*pair.get(1).unwrap_or(&0));
                hash = mix(hash, pair);
            }
            shallow.push(hash | 1);
            ends.push(follow.len());
        }
        let mut deep = shallow.clone();
        for _ in 0..ROUNDS {
            let mut begin = 0;
            let next = ends.iter().zip(&shallow).map(|(&end, &hash)| {
                let followed = &follow[std::mem::replace(&mut begin, end)..end];
                followed.iter().fold(hash, |hash, id| mix(hash, deep[*id as usize])) | 1
            });
            deep = next.collect();
        }
        Self { deep, shallow, named }
    }
}

#[inline]
fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash.rotate_left(23) ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ (product >> 64) as u64
}
