//! Deltas: what is encoded comes back exactly or is not encoded, small changes make small deltas, and no bytes at all do harm.

mod models;

use btf_archive::delta::{self, Base, Header, MAX_DEPTH};
use btf_archive::{Digest, Error};
use models::{Form, Model, Type, change, model};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn encode(base: &[u8], raw: &[u8]) -> Option<Vec<u8>> {
    delta::encode(Base { digest: Digest::of(base), depth: 0, raw: base }, &Digest::of(raw), raw)
}

/// What decoding gives for what encoding gave; panics unless that is the same again.
fn round(base: &[u8], raw: &[u8]) -> Option<usize> {
    let delta = encode(base, raw)?;
    assert_eq!(delta::decode(base, &delta, raw.len()).unwrap(), raw);
    let header = Header::parse(&delta).unwrap();
    assert_eq!((header.raw_size, header.depth), (raw.len(), 1));
    assert_eq!((header.digest, header.base), (Digest::of(raw), Digest::of(base)));
    Some(delta.len())
}

/// A blob with many structs, as a kernel has them, and pointers to each.
fn kernel(structs: u32) -> Model {
    let ty = |kind, name, third, elements| Type { kind, flag: false, name, third, fixed: [0; 3], elements };
    let types = (0..structs).flat_map(|number| {
        let elements = (0..20)
            .map(|member| [member + number % 7, 1 + (number * 31 + member) % structs, member * 64])
            .collect();
        [ty(4, (number % 39) as u8 + 1, 160 + number, elements), ty(2, 0, number * 2 + 1, Vec::new())]
    });
    Model { types: types.collect(), strings: (0..40).collect(), form: Form::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Check that a blob and one that was changed a little come back, in either direction, in any byte order and with any header.
    #[test]
    fn delta_of_changes(before in model(30), changes in vec(change(), 0..12)) {
        let mut after = before.clone();
        changes.iter().for_each(|change| after.change(change));
        let (before, after) = (before.write(), after.write());
        prop_assert!(round(&before, &after).is_some());
        prop_assert!(round(&after, &before).is_some());
    }

    /// Check that blobs which have nothing to do with each other, and differ in byte order, come back too.
    #[test]
    fn delta_of_strangers(base in model(20), raw in model(20)) {
        prop_assert!(round(&base.write(), &raw.write()).is_some());
    }

    /// Check that all types in another order, with strings in another, come back.
    #[test]
    fn delta_of_shuffled(
        (base, order) in model(40).prop_flat_map(|model| (Just(model.clone()), Just(model.types).prop_shuffle())),
        strings in Just((0..40).collect::<Vec<u8>>()).prop_shuffle(),
    ) {
        let shuffled = Model { types: order, strings, form: base.form };
        prop_assert!(round(&base.write(), &shuffled.write()).is_some());
    }

    /// Check that BTF with damaged or missing bytes is either exactly encoded or not at all, as a base and as a blob.
    #[test]
    fn delta_of_damaged(
        good in model(20),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        len in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let good = good.write();
        let mut bad = good.clone();
        for (at, byte) in damage {
            let at = at.index(bad.len());
            bad[at] = byte;
        }
        bad.truncate(len.map_or(bad.len(), |len| len.index(bad.len()).max(2)));
        round(&good, &bad);
        round(&bad, &good);
        round(&bad, &bad);
    }

    /// Check that any bytes at all behind a good header are an error or have the right digest.
    #[test]
    fn delta_of_noise(base in model(10), noise in vec(any::<u8>(), 0..200), method in 1..3_u8, keep in 80..100_usize) {
        let base = base.write();
        let mut delta = encode(&base, &base).unwrap();
        delta.truncate(keep);
        delta.extend(noise);
        delta[9] = method;
        if let Ok(raw) = delta::decode(&base, &delta, LIMIT) {
            prop_assert_eq!(raw, base);
        }
    }

    /// Check that text comes back, whatever lines it has, and however it ends.
    #[test]
    fn delta_of_text(base in "(CONFIG_[A-E]=[ym]\n|#\n|\n){0,20}[ab]{0,2}", raw in "(CONFIG_[A-F]=[ym]\n|#\n|\n){0,20}[ab]{0,2}") {
        prop_assert!(round(base.as_bytes(), raw.as_bytes()).is_some());
    }
}

/// Check that one struct put in front of a thousand others costs a hundred bytes, though every number and name behind it differs.
#[test]
fn delta_is_small() {
    let (base, mut changed) = (kernel(1000), kernel(1000));
    let mut first = changed.types[0].clone();
    (first.name, first.third) = (50, 7);
    changed.types.insert(0, first);
    for ty in &mut changed.types[1..] {
        let shift = |id: &mut u32| *id += 1;
        match ty.kind {
            2 => shift(&mut ty.third),
            _ => ty.elements.iter_mut().for_each(|[_, id, _]| shift(id)),
        }
    }
    changed.strings.rotate_left(1);
    let len = round(&base.write(), &changed.write()).unwrap();
    assert!(len < 400, "{len} bytes");
}

/// Check that a member put into the middle of a struct costs a few bytes, though all behind it moved.
#[test]
fn delta_of_member() {
    let (base, mut changed) = (kernel(1000), kernel(1000));
    let members = &mut changed.types[1000].elements;
    members.iter_mut().skip(3).for_each(|[_, _, offset]| *offset += 32);
    members.insert(3, [30, 5, 192]);
    let len = round(&base.write(), &changed.write()).unwrap();
    assert!(len < 200, "{len} bytes");
}

/// Check that chains end where they should, and that a delta says how deep it is.
#[test]
fn delta_depth() {
    let (base, raw) = (kernel(10).write(), kernel(12).write());
    for depth in 0..=MAX_DEPTH {
        let on = Base { digest: Digest::of(&base), depth, raw: &base };
        let delta = delta::encode(on, &Digest::of(&raw), &raw);
        assert_eq!(delta.is_some(), depth < MAX_DEPTH, "{depth}");
        assert!(delta.is_none_or(|delta| Header::parse(&delta).unwrap().depth == depth + 1));
    }
}

/// Check that a delta on another base, for another blob or of more than is allowed is refused.
#[test]
fn delta_refused() {
    let (base, other, raw) = (kernel(10).write(), kernel(11).write(), kernel(12).write());
    let delta = encode(&base, &raw).unwrap();
    assert!(delta::decode(&other, &delta, LIMIT).is_err());
    assert!(matches!(delta::decode(b"", &delta, LIMIT), Err(Error::Delta { part: "base", .. })));
    let short = delta::decode(&base, &delta, raw.len() - 1);
    assert!(matches!(short, Err(Error::TooLarge { .. })));
    let wrong = delta::encode(
        Base { digest: Digest::of(&base), depth: 0, raw: &base },
        &Digest::of(b"something else"),
        &raw,
    );
    assert!(matches!(delta::decode(&base, &wrong.unwrap(), LIMIT), Err(Error::DigestMismatch { .. })));
    assert!(encode(&base, b"CONFIG_X86=y\n").is_none());
}

/// Check that each field of the header is looked at, and that no cut delta is taken.
#[test]
fn delta_header() {
    let (base, raw) = (kernel(10).write(), kernel(12).write());
    let delta = encode(&base, &raw).unwrap();
    for (at, byte) in [(0, b'b'), (8, 2), (9, 0), (9, 9), (10, 0), (10, MAX_DEPTH + 1), (11, 1)] {
        let mut bad = delta.clone();
        bad[at] = byte;
        assert!(matches!(Header::parse(&bad), Err(Error::Delta { part: "header", .. })), "{at}");
    }
    for len in 0..delta.len() {
        assert!(delta::decode(&base, &delta[..len], LIMIT).is_err(), "{len}");
    }
    let longer = [&delta[..], b"\0"].concat();
    assert!(delta::decode(&base, &longer, LIMIT).is_err());
}
