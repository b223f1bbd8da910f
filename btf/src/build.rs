//! Building a BTF blob: types are appended, strings are stored once, and the result is written in either byte order.
//!
//! Ids may be used before the type that they name is added ([`Builder::next_id`] tells the next one), as cyclic types need. The builder checks
//! only what it could not write; [`crate::validate`] judges the result.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::error::{Error, Result};
use crate::kind::{Info, Kind, MAX_VLEN};
use crate::read::{Btf, HEADER_LEN, MAGIC};
use crate::refs::{Ref, visit_refs};
use crate::types::{Array, Enumerator, Int, Member, Param, SectionVar, Type};
use crate::{Endian, StrOffset, TypeId};

/// The strings of a blob, each stored once.
#[derive(Clone, Debug)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each string is, and the lower half of its hash, so that a growing table need not read strings again.
    places: HashTable<(u32, u32)>,
    /// How many of the bytes hold strings that `places` knows. Who only adds strings that are new never needs to know.
    indexed: usize,
    /// Offset of the first byte: a base's string length, for split BTF.
    first: u32,
    /// Seeded at random, so that hostile names cannot be chosen to collide. Offsets depend on the order of arrival only.
    hasher: RandomState,
}

impl Strings {
    fn new(first: u32) -> Strings {
        let bytes = if first == 0 { vec![0] } else { Vec::new() };
        let indexed = bytes.len();
        Strings { bytes, places: HashTable::new(), indexed, first, hasher: RandomState::default() }
    }

    /// The offset of this string, which is added if it is new. Everything from the first zero byte on is dropped, as no reader would see it.
    pub fn add(&mut self, string: &[u8]) -> StrOffset {
        let string = string.split(|&byte| byte == 0).next().unwrap_or_default();
        if string.is_empty() {
            return StrOffset(0);
        }
        self.index();
        let Strings { bytes, places, indexed, first, hasher } = self;
        let tag = hasher.hash_one(string) as u32;
        let equal = |&(place, other): &(u32, u32)| {
            let rest = bytes[place as usize..].strip_prefix(string);
            other == tag && rest.and_then(<[u8]>::first) == Some(&0)
        };
        match places.entry(spread(tag), equal, |&(_, tag)| spread(tag)) {
            Entry::Occupied(place) => StrOffset(*first + place.get().0),
            Entry::Vacant(slot) => {
                let place = bytes.len() as u32;
                slot.insert((place, tag));
                bytes.extend_from_slice(string);
                bytes.push(0);
                *indexed = bytes.len();
                StrOffset(*first + place)
            }
        }
    }

    /// The offset of a string that was not added before, and holds no zero byte. It is not compared with others.
    pub(crate) fn add_new(&mut self, string: &[u8]) -> StrOffset {
        if string.is_empty() {
            return StrOffset(0);
        }
        let place = self.bytes.len() as u32;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        StrOffset(self.first + place)
    }

    /// Makes all strings known by their hashes.
    fn index(&mut self) {
        let Strings { bytes, places, indexed, hasher, .. } = self;
        while let Some(len) = bytes[*indexed..].iter().position(|&byte| byte == 0) {
            let tag = hasher.hash_one(&bytes[*indexed..*indexed + len]) as u32;
            places.insert_unique(spread(tag), (*indexed as u32, tag), |&(_, tag)| spread(tag));
            *indexed += len + 1;
        }
    }

    /// Length of the section in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no string was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == usize::from(self.first == 0)
    }
}

/// A hash of 64 bits, as tables want it, of the 32 that are kept.
#[inline]
pub(crate) fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Collects types and strings, and writes them as one BTF blob.
#[derive(Clone, Debug)]
pub struct Builder {
    strings: Strings,
    words: Vec<u32>,
    starts: Vec<u32>,
    first_id: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A builder of self-contained BTF.
    pub fn new() -> Builder {
        Builder { strings: Strings::new(0), words: Vec::new(), starts: Vec::new(), first_id: 1 }
    }

    /// A builder of split BTF on top of `base`: ids and string offsets continue the base's.
    pub fn split(base: &Btf<'_>) -> Builder {
        Builder {
            strings: Strings::new(base.string_end()),
            words: Vec::new(),
            starts: Vec::new(),
            first_id: base.type_count(),
        }
    }

    /// The id that the next type gets.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.first_id + self.starts.len() as u32)
    }

    /// Number of types added.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether no type was added.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The offset of this string, which is added if it is new.
    pub fn string(&mut self, string: &[u8]) -> StrOffset {
        self.strings.add(string)
    }

    /// [`Strings::add_new`].
    pub(crate) fn new_string(&mut self, string: &[u8]) -> StrOffset {
        self.strings.add_new(string)
    }

    /// Makes room for types of so many words.
    pub(crate) fn reserve(&mut self, types: usize, words: usize) {
        self.starts.reserve(types);
        self.words.reserve(words);
    }

    /// Adds a type as raw words in native byte order; string offsets must be of this builder.
    pub fn add_record(&mut self, words: &[u32]) -> TypeId {
        let id = self.next_id();
        self.starts.push(self.words.len() as u32);
        self.words.extend_from_slice(words);
        id
    }

    /// Adds a copy of a type of `btf`, with its strings, and `ids` telling what each type it refers to is called here.
    ///
    /// # Errors
    /// When a string of the type is out of range in `btf`, or longer than any name can be.
    pub fn add_copy(
        &mut self,
        btf: &Btf<'_>,
        ty: &Type<'_>,
        mut ids: impl FnMut(TypeId) -> TypeId,
    ) -> Result<TypeId> {
        let start = self.words.len();
        self.words.extend(ty.words());
        let mut failed = None;
        let Builder { strings, words, .. } = self;
        visit_refs(&mut words[start..], |what, word| match what {
            Ref::Type => *word = if *word == 0 { 0 } else { ids(TypeId(*word)).0 },
            Ref::String => match btf.copied_string(StrOffset(*word)) {
                Ok(string) => *word = strings.add(string).0,
                Err(error) => failed = Some(error),
            },
        });
        if let Some(error) = failed {
            self.words.truncate(start);
            return Err(error);
        }
        let id = self.next_id();
        self.starts.push(start as u32);
        Ok(id)
    }

    /// Adds an INT of `size` bytes.
    pub fn int(&mut self, name: &[u8], size: u32, int: Int) -> TypeId {
        let encoding = u32::from(int.encoding) << 24 | u32::from(int.bit_offset) << 16 | u32::from(int.bits);
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(Kind::Int, 0, false).0, size, encoding])
    }

    /// Adds a FLOAT of `size` bytes.
    pub fn float(&mut self, name: &[u8], size: u32) -> TypeId {
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(Kind::Float, 0, false).0, size])
    }

    /// Adds a type that only refers to another: PTR, CONST, VOLATILE, RESTRICT (unnamed), TYPEDEF, TYPE_TAG (named).
    pub fn reference(&mut self, kind: Kind, name: &[u8], target: TypeId) -> TypeId {
        debug_assert!(kind.refers() && kind.payload().fixed == 0 && kind.payload().element == 0);
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(kind, 0, false).0, target.0])
    }

    /// Adds a forward declaration of a struct, or of a union.
    pub fn fwd(&mut self, name: &[u8], union: bool) -> TypeId {
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(Kind::Fwd, 0, union).0, 0])
    }

    /// Adds an ARRAY.
    pub fn array(&mut self, array: Array) -> TypeId {
        let words = [0, Info::new(Kind::Array, 0, false).0, 0, array.element.0, array.index.0, array.len];
        self.add_record(&words)
    }

    /// Adds a STRUCT or UNION of `size` bytes. Member names are offsets from [`Builder::string`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more members than `vlen` holds, or a bit offset that does not fit beside bitfields (24 bits).
    pub fn composite(&mut self, kind: Kind, name: &[u8], size: u32, members: &[Member]) -> Result<TypeId> {
        debug_assert!(kind.is_composite());
        let vlen = checked_vlen("members", members.len())?;
        let bitfields = members.iter().any(|member| member.bit_width != 0);
        if bitfields && let Some(far) = members.iter().find(|member| member.bit_offset > 0x00ff_ffff) {
            return Err(Error::TooLarge {
                what: "bit offset of a member beside bitfields",
                value: far.bit_offset.into(),
                limit: 0x00ff_ffff,
            });
        }
        let name = self.string(name);
        let id = self.add_record(&[name.0, Info::new(kind, vlen, bitfields).0, size]);
        for member in members {
            let offset = member.bit_offset | u32::from(member.bit_width) << 24;
            self.words.extend([member.name.0, member.ty.0, offset]);
        }
        Ok(id)
    }

    /// Adds an enumeration of `size` bytes: an ENUM, or an ENUM64 if `size` is 8. `signed` says how readers extend values.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more enumerators than `vlen` holds, or a value of an ENUM that does not fit 32 bits, signed or not.
    pub fn enumeration(
        &mut self,
        name: &[u8],
        size: u32,
        signed: bool,
        enumerators: &[Enumerator],
    ) -> Result<TypeId> {
        let vlen = checked_vlen("enumerators", enumerators.len())?;
        let kind = if size == 8 { Kind::Enum64 } else { Kind::Enum };
        let fits = |value: i64| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&value);
        if kind == Kind::Enum
            && let Some(wide) = enumerators.iter().find(|enumerator| !fits(enumerator.value))
        {
            return Err(Error::TooLarge {
                what: "value of a 32-bit enum",
                value: wide.value.unsigned_abs(),
                limit: u32::MAX.into(),
            });
        }
        let name = self.string(name);
        let id = self.add_record(&[name.0, Info::new(kind, vlen, signed).0, size]);
        for enumerator in enumerators {
            let value = enumerator.value as u64;
            self.words.extend([enumerator.name.0, value as u32]);
            if kind == Kind::Enum64 {
                self.words.push((value >> 32) as u32);
            }
        }
        Ok(id)
    }

    /// Adds a FUNC_PROTO that returns `result`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more parameters than `vlen` holds.
    pub fn func_proto(&mut self, result: TypeId, params: &[Param]) -> Result<TypeId> {
        let vlen = checked_vlen("parameters", params.len())?;
        let id = self.add_record(&[0, Info::new(Kind::FuncProto, vlen, false).0, result.0]);
        self.words.extend(params.iter().flat_map(|param| [param.name.0, param.ty.0]));
        Ok(id)
    }

    /// Adds a FUNC with its linkage (0 static, 1 global, 2 extern).
    pub fn func(&mut self, name: &[u8], proto: TypeId, linkage: u32) -> TypeId {
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(Kind::Func, linkage, false).0, proto.0])
    }

    /// Adds a VAR with its linkage (0 static, 1 global, 2 extern).
    pub fn var(&mut self, name: &[u8], ty: TypeId, linkage: u32) -> TypeId {
        let name = self.string(name);
        self.add_record(&[name.0, Info::new(Kind::Var, 0, false).0, ty.0, linkage])
    }

    /// Adds a DATASEC of `size` bytes; `vars` must be in the order of their offsets.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more variables than `vlen` holds.
    pub fn datasec(&mut self, name: &[u8], size: u32, vars: &[SectionVar]) -> Result<TypeId> {
        let vlen = checked_vlen("variables of a section", vars.len())?;
        let name = self.string(name);
        let id = self.add_record(&[name.0, Info::new(Kind::Datasec, vlen, false).0, size]);
        self.words.extend(vars.iter().flat_map(|var| [var.ty.0, var.offset, var.size]));
        Ok(id)
    }

    /// Adds a DECL_TAG on `target`: on its member or parameter `component`, or on the declaration itself for −1.
    pub fn decl_tag(&mut self, tag: &[u8], target: TypeId, component: i32) -> TypeId {
        let name = self.string(tag);
        self.add_record(&[name.0, Info::new(Kind::DeclTag, 0, false).0, target.0, component as u32])
    }

    /// Writes the blob, always with the 24-byte header that every reader knows.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when types or strings do not fit 32-bit lengths.
    pub fn finish(&self, endian: Endian) -> Result<Vec<u8>> {
        let type_len = self.words.len() as u64 * 4;
        let string_len = self.strings.bytes.len() as u64;
        let total = HEADER_LEN as u64 + type_len + string_len;
        if total > u64::from(u32::MAX) {
            let limit = u32::MAX.into();
            return Err(Error::TooLarge { what: "the blob, in bytes", value: total, limit });
        }
        let mut blob = Vec::with_capacity(total as usize);
        blob.extend(endian.u16_bytes(MAGIC));
        blob.extend([1, 0]);
        for word in [HEADER_LEN as u32, 0, type_len as u32, type_len as u32, string_len as u32] {
            blob.extend(endian.u32_bytes(word));
        }
        blob.extend(self.words.iter().flat_map(|&word| endian.u32_bytes(word)));
        blob.extend_from_slice(&self.strings.bytes);
        Ok(blob)
    }
}

pub(crate) fn checked_vlen(what: &'static str, len: usize) -> Result<u32> {
    match u32::try_from(len) {
        Ok(vlen) if vlen <= MAX_VLEN => Ok(vlen),
        _ => Err(Error::TooLarge { what, value: len as u64, limit: MAX_VLEN.into() }),
    }
}
