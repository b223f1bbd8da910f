//! Which elements of a type are which of its old ones: members by name, what has no name by its type.

use std::collections::HashMap;

use super::view::Word;

/// How elements change: this many are kept, this many of the base's left out, this many put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kept: usize,
    pub(super) left_out: usize,
    pub(super) put_in: usize,
}

/// The changes that make `old` elements `new` ones, `map` giving the new ids of types.
pub(super) fn changes(old: &[u32], new: &[u32], element: &[Word], map: &[u32]) -> Vec<Change> {
    let width = element.len();
    let same = increasing(&candidates(old, new, element, map));
    let (mut changes, mut at, mut from) = (Vec::new(), 0, 0);
    let count = new.len() / width;
    let mut same = same.into_iter().peekable();
    while at < count {
        let begin = at;
        while same.next_if_eq(&(at, from)).is_some() {
            at += 1;
            from += 1;
        }
        let (next_at, next_from) = same.peek().copied().unwrap_or((count, old.len() / width));
        changes.push(Change { kept: at - begin, left_out: next_from - from, put_in: next_at - at });
        (at, from) = (next_at, next_from);
    }
    changes
}

/// For new elements in order the old one of the same key.
fn candidates(old: &[u32], new: &[u32], element: &[Word], map: &[u32]) -> Vec<(usize, usize)> {
    let position = |word| element.iter().position(|of| *of == word);
    let (name, ty) = (position(Word::Name), position(Word::Type));
    let key = |words: &[u32], map: Option<&[u32]>| {
        let name = name.map_or(0, |at| words[at]);
        let ty = ty.filter(|_| name == 0).map_or(0, |at| words[at]);
        (name, map.and_then(|map| map.get(ty as usize).copied()).unwrap_or(ty))
    };
    let mut places: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for (at, words) in old.chunks_exact(element.len()).enumerate().rev() {
        places.entry(key(words, Some(map))).or_default().push(at);
    }
    let found = new.chunks_exact(element.len()).enumerate();
    found.filter_map(|(at, words)| Some((at, places.get_mut(&key(words, None))?.pop()?))).collect()
}

/// A longest selection in which both numbers increase.
fn increasing(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the pair that ends a selection of it with the least second number, and what comes before each pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; pairs.len()];
    for (index, pair) in pairs.iter().enumerate() {
        let len = ends.partition_point(|end| pairs[*end].1 < pair.1);
        if len > 0 {
            before[index] = ends[len - 1];
        }
        if len == ends.len() { ends.push(index) } else { ends[len] = index }
    }
    let mut selected = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(index) = at {
        selected.push(pairs[index]);
        at = before.get(index).copied().filter(|before| *before != usize::MAX);
    }
    selected.reverse();
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that a member put in, one left out and one renamed are told from those that stay.
    #[test]
    fn element_changes() {
        let element = [Word::Name, Word::Type, Word::Other];
        let old = [10, 1, 0, 20, 2, 8, 30, 3, 16, 0, 4, 24];
        let new = [10, 1, 0, 15, 2, 8, 30, 3, 16, 0, 5, 24, 40, 1, 32];
        let found = changes(&old, &new, &element, &[0, 1, 2, 3, 5]);
        let change = |kept, left_out, put_in| Change { kept, left_out, put_in };
        assert_eq!(found, [change(1, 1, 1), change(2, 0, 1)]);
        assert_eq!(changes(&old, &[], &element, &[]), []);
        assert_eq!(changes(&[], &new[..3], &element, &[]), [change(0, 0, 1)]);
    }

    /// Check that of members that changed places as many as possible are kept.
    #[test]
    fn element_order() {
        assert_eq!(increasing(&[(0, 3), (1, 0), (2, 1), (3, 4), (4, 2)]), [(1, 0), (2, 1), (4, 2)]);
        assert_eq!(increasing(&[]), []);
    }
}
