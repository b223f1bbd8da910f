//! One type record of a BTF blob and what each kind holds.

use crate::error::{Error, Result};
use crate::kind::{Info, Kind, TYPE_HEADER_LEN};
use crate::{Endian, StrOffset, TypeId};

/// A type: its record's bytes, borrowed, with the length already checked against kind and `vlen`.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    id: TypeId,
    offset: u64,
    kind: Kind,
    info: Info,
    record: &'a [u8],
    endian: Endian,
}

/// A member of a struct or union (`struct btf_member`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The name; 0 for an anonymous member.
    pub name: StrOffset,
    /// The type.
    pub ty: TypeId,
    /// Offset from the start of the struct, in bits.
    pub bit_offset: u32,
    /// Width of a bitfield in bits; 0 for a plain member. Structs without the kind flag hold widths in their INT types
    /// instead (see [`Int::bits`]), and then this is 0.
    pub bit_width: u8,
}

impl Member {
    fn new([name, ty, offset]: [u32; 3], bitfields: bool) -> Member {
        let (bit_offset, bit_width) =
            if bitfields { (offset & 0x00ff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
        Member { name: StrOffset(name), ty: TypeId(ty), bit_offset, bit_width }
    }
}

/// An enumerator of an enum or enum64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enumerator {
    /// The name.
    pub name: StrOffset,
    /// The value: sign- or zero-extended from 32 bits by the enum's signedness, or all 64 bits of an enum64.
    pub value: i64,
}

/// A parameter of a function prototype (`struct btf_param`). Name and type 0 at the end stand for `...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param {
    /// The name; 0 in prototypes of pointed-to functions.
    pub name: StrOffset,
    /// The type.
    pub ty: TypeId,
}

/// An array (`struct btf_array`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array {
    /// Type of an element.
    pub element: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// Number of elements; 0 for a flexible array.
    pub len: u32,
}

/// The encoding of an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Int {
    /// [`crate::kind::INT_SIGNED`], [`crate::kind::INT_CHAR`] and [`crate::kind::INT_BOOL`].
    pub encoding: u8,
    /// Offset in bits (legacy bitfields only; else 0).
    pub bit_offset: u8,
    /// Width in bits.
    pub bits: u8,
}

/// A variable's place in its section (`struct btf_var_secinfo`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionVar {
    /// The VAR.
    pub ty: TypeId,
    /// Offset in the section, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl<'a> Type<'a> {
    #[inline]
    pub(crate) fn new(id: TypeId, offset: u64, record: &'a [u8], endian: Endian) -> Result<Type<'a>> {
        let info = Info(endian.u32_at(record, 4).unwrap_or(0));
        let number = info.kind_number();
        let kind = Kind::from_number(number).ok_or(Error::UnknownKind { id, offset, kind: number })?;
        Ok(Type { id, offset, kind, info, record, endian })
    }

    /// The type's id.
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// Where the record starts, in bytes from the start of the blob.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole `info` word.
    pub fn info(&self) -> Info {
        self.info
    }

    /// Number of elements; for a FUNC its linkage (0 static, 1 global, 2 extern).
    pub fn vlen(&self) -> u32 {
        self.info.vlen()
    }

    /// The kind flag: bitfield widths in member offsets (STRUCT, UNION), a union (FWD), signed values (ENUM, ENUM64), an
    /// attribute other than a tag (DECL_TAG, TYPE_TAG).
    pub fn kind_flag(&self) -> bool {
        self.info.kind_flag()
    }

    /// The name's string offset; 0 for an anonymous type.
    pub fn name_offset(&self) -> StrOffset {
        StrOffset(self.word(0))
    }

    /// The third word, whichever of `size` and `type` it is.
    pub fn size_or_type(&self) -> u32 {
        self.word(2)
    }

    /// The size in bytes that the record holds, for the kinds that hold one.
    pub fn size(&self) -> Option<u32> {
        self.kind.is_sized().then(|| self.word(2))
    }

    /// The type that this one refers to, for the kinds that refer to one; void is `TypeId(0)`.
    pub fn target(&self) -> Option<TypeId> {
        self.kind.refers().then(|| TypeId(self.word(2)))
    }

    /// The record's words in native byte order.
    pub fn words(&self) -> impl ExactSizeIterator<Item = u32> + Clone + 'a {
        let endian = self.endian;
        self.record.chunks_exact(4).map(move |word| endian.u32_at(word, 0).unwrap_or(0))
    }

    /// Members of a struct or union; empty for other kinds.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member> + Clone + 'a {
        let bitfields = self.kind_flag();
        self.elements::<3>(self.kind.is_composite()).map(move |words| Member::new(words, bitfields))
    }

    /// The member with this index; `None` past the last one and for other kinds than STRUCT and UNION.
    pub fn member(&self, index: u32) -> Option<Member> {
        let words = self.element(self.kind.is_composite(), index)?;
        Some(Member::new(words, self.kind_flag()))
    }

    /// Enumerators of an enum or enum64; empty for other kinds.
    pub fn enumerators(&self) -> impl ExactSizeIterator<Item = Enumerator> + Clone + 'a {
        let (signed, wide) = (self.kind_flag(), self.kind == Kind::Enum64);
        let (record, endian) = (&self.record[TYPE_HEADER_LEN..], self.endian);
        let step = if wide { 12 } else { 8 };
        let record = if self.kind.is_any_enum() { record } else { &[] };
        record.chunks_exact(step).map(move |entry| {
            let word = |index: usize| endian.u32_at(entry, index * 4).unwrap_or(0);
            let value = if wide {
                (u64::from(word(2)) << 32 | u64::from(word(1))) as i64
            } else if signed {
                i64::from(word(1) as i32)
            } else {
                i64::from(word(1))
            };
            Enumerator { name: StrOffset(word(0)), value }
        })
    }

    /// Parameters of a function prototype; empty for other kinds.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + Clone + 'a {
        self.elements::<2>(self.kind == Kind::FuncProto)
            .map(|[name, ty]| Param { name: StrOffset(name), ty: TypeId(ty) })
    }

    /// Variables of a DATASEC; empty for other kinds.
    pub fn section_vars(&self) -> impl ExactSizeIterator<Item = SectionVar> + Clone + 'a {
        self.elements::<3>(self.kind == Kind::Datasec).map(|[ty, offset, size]| SectionVar {
            ty: TypeId(ty),
            offset,
            size,
        })
    }

    /// The variable with this index; `None` past the last one and for other kinds than DATASEC.
    pub fn section_var(&self, index: u32) -> Option<SectionVar> {
        let [ty, offset, size] = self.element(self.kind == Kind::Datasec, index)?;
        Some(SectionVar { ty: TypeId(ty), offset, size })
    }

    /// The array, for an ARRAY.
    pub fn array(&self) -> Option<Array> {
        (self.kind == Kind::Array).then(|| Array {
            element: TypeId(self.word(3)),
            index: TypeId(self.word(4)),
            len: self.word(5),
        })
    }

    /// The encoding, for an INT.
    pub fn int(&self) -> Option<Int> {
        (self.kind == Kind::Int).then(|| {
            let word = self.word(3);
            Int { encoding: (word >> 24) as u8 & 0x0f, bit_offset: (word >> 16) as u8, bits: word as u8 }
        })
    }

    /// The linkage of a FUNC (0 static, 1 global, 2 extern) or VAR (0 static, 1 allocated, 2 extern).
    pub fn linkage(&self) -> Option<u32> {
        match self.kind {
            Kind::Func => Some(self.vlen()),
            Kind::Var => Some(self.word(3)),
            _ => None,
        }
    }

    /// Which member or parameter a DECL_TAG is on; −1 for the declaration itself.
    pub fn component_index(&self) -> Option<i32> {
        (self.kind == Kind::DeclTag).then(|| self.word(3) as i32)
    }

    /// The word at this index of the record; the record's length was checked, so it is there for every field of the kind.
    pub(crate) fn word(&self, index: usize) -> u32 {
        self.endian.u32_at(self.record, index * 4).unwrap_or(0)
    }

    fn element<const WORDS: usize>(&self, present: bool, index: u32) -> Option<[u32; WORDS]> {
        let payload = if present { &self.record[TYPE_HEADER_LEN..] } else { &[] };
        let element = payload.get((index as usize).checked_mul(WORDS * 4)?..)?.get(..WORDS * 4)?;
        Some(std::array::from_fn(|word| self.endian.u32_at(element, word * 4).unwrap_or(0)))
    }

    fn elements<const WORDS: usize>(
        &self,
        present: bool,
    ) -> impl ExactSizeIterator<Item = [u32; WORDS]> + Clone + 'a {
        let endian = self.endian;
        let payload = if present { &self.record[TYPE_HEADER_LEN..] } else { &[] };
        payload
            .chunks_exact(WORDS * 4)
            .map(move |element| std::array::from_fn(|index| endian.u32_at(element, index * 4).unwrap_or(0)))
    }
}
