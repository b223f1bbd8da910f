//! Deltas: a blob as what differs from another.
//!
//! Two kernels of a series have almost the same types, but a type that one has more shifts the number of every type behind it and the place of
//! every name: as bytes they are far apart. A delta tells what differs *as types*: runs of types that are the base's with their ids and names
//! mapped, elements of a struct that came and went, new types, new names. Kernel configurations are compared line by line.
//!
//! A delta names its base by digest, and may be made on a blob that is itself a delta, but no further: [`MAX_DEPTH`]. It is bit-exact: what [`encode`] gives has been decoded and
//! compared. [`decode`] is given bytes from anywhere: what comes out has the digest that the header promises, or is an error, and no more memory is
//! used than in proportion to the base, the delta and the allowed size.
//!
//! - `frame`: the stored form, with header and streams; `number`: numbers in streams;
//! - `decode`: reading the delta of a BTF blob, out of `view` (BTF as words), `strings` and `records`;
//! - `encode` and `align` (feature `compress`): making one; `align` finds out which type became which;
//! - `text`: deltas of lines.

#[cfg(feature = "compress")]
mod align;
mod decode;
#[cfg(feature = "compress")]
mod elements;
#[cfg(feature = "compress")]
mod encode;
mod frame;
mod number;
mod records;
mod strings;
mod text;
mod view;

pub use frame::{Header, MAX_DEPTH};

#[cfg(feature = "compress")]
use crate::Digest;
use crate::{Error, Result};
use frame::Method;

/// What a delta is made on.
#[cfg(feature = "compress")]
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The digest of the raw bytes.
    pub digest: Digest,
    /// How many deltas it is made of itself: 0 for a whole blob.
    pub depth: u8,
    /// The raw bytes.
    pub raw: &'a [u8],
}

/// Makes the delta of a blob: of BTF on BTF of the same byte order, or of text on text.
///
/// `None` where that cannot be done, or would not be exact, and where the base is as deep as allowed.
#[cfg(feature = "compress")]
pub fn encode(base: Base<'_>, digest: &Digest, raw: &[u8]) -> Option<Vec<u8>> {
    let depth = base.depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
    let is_btf = |bytes: &[u8]| matches!(bytes, [0x9f, 0xeb, ..] | [0xeb, 0x9f, ..]);
    let (method, streams) = match (is_btf(base.raw), is_btf(raw)) {
        (true, true) => (Method::Btf, encode::encode(base.raw, raw)?),
        (false, false) => (Method::Text, text::encode(base.raw, raw)?),
        _ => return None,
    };
    let header = Header { method, depth, raw_size: raw.len(), digest: *digest, base: base.digest };
    let delta = frame::pack(&header, &streams)?;
    // The proof is in the decoding.
    let decoded = unverified(base.raw, &delta, raw.len()).ok()?;
    (decoded == raw).then_some(delta)
}

/// The raw bytes of a stored delta, of at most `max_len` bytes, on the raw bytes of its base ([`Header::base`]).
///
/// # Errors
/// [`Error::Delta`], [`Error::Zstd`], [`Error::TooLarge`], and [`Error::DigestMismatch`] if the bytes are not those that the header promises.
pub fn decode(base: &[u8], delta: &[u8], max_len: usize) -> Result<Vec<u8>> {
    let raw = unverified(base, delta, max_len)?;
    Header::parse(delta)?.digest.check(&raw)?;
    Ok(raw)
}

/// [`decode`] without the digest, for bases in between: what is made on a wrong one has a wrong digest itself.
///
/// # Errors
/// Those of [`decode`] but the last.
pub fn unverified(base: &[u8], delta: &[u8], max_len: usize) -> Result<Vec<u8>> {
    let header = Header::parse(delta)?;
    if header.raw_size > max_len {
        return Err(Error::TooLarge { limit: max_len });
    }
    let streams = header.unpack(delta)?;
    match header.method {
        Method::Btf => decode::decode(base, &header, &streams),
        Method::Text => text::decode(base, &header, &streams),
    }
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use btf::{Array, Builder, Endian, Int, Kind, Member, TypeId};
    use proptest::prelude::*;

    use super::*;

    /// A blob with some of everything that a delta has streams for; each number is a kernel.
    fn sample(kernel: u32) -> Vec<u8> {
        let mut builder = Builder::new();
        let int = builder.int(b"int", 4, Int { encoding: 1, bit_offset: 0, bits: 32 });
        for number in 0..30 + kernel {
            let name = builder.string(format!("member_{number}").as_bytes());
            let members = (0..number % 5 + kernel % 2).map(|at| {
                let ty = TypeId(1 + number * at % 20);
                Member { name, ty, bit_offset: 32 * at, bit_width: 0 }
            });
            let called = format!("type_{}", number * (1 + kernel));
            let members: Vec<_> = members.collect();
            let of = builder.composite(Kind::Struct, called.as_bytes(), 4 * number, &members).unwrap();
            builder.reference(Kind::Ptr, b"", of);
            builder.array(Array { element: int, index: int, len: number * kernel });
        }
        builder.finish(Endian::Little).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Check that of streams that are damaged anywhere nothing comes but an error or as much as was declared.
        #[test]
        fn delta_of_damaged_streams(
            kernels in (0..6_u32, 0..6_u32),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let (base, raw) = (sample(kernels.0), sample(kernels.1));
            let mut streams = encode::encode(&base, &raw).unwrap();
            for (at, byte) in damage {
                let mut at = at.index(streams.iter().map(Vec::len).sum());
                for stream in &mut streams {
                    match stream.get_mut(at) {
                        Some(place) => {
                            *place = byte;
                            break;
                        }
                        None => at -= stream.len(),
                    }
                }
            }
            if let Some(cut) = cut {
                let _ = cut.get_mut(&mut streams).pop();
            }
            let (digest, base_digest) = (Digest::of(&raw), Digest::of(&base));
            let header = Header { method: Method::Btf, depth: 1, raw_size: raw.len(), digest, base: base_digest };
            let delta = frame::pack(&header, &streams).unwrap();
            if let Ok(out) = unverified(&base, &delta, raw.len()) {
                prop_assert_eq!(out.len(), raw.len());
            }
        }
    }
}
