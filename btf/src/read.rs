//! A borrowed view of a BTF blob: header, string section, and an index of where each type starts.
//!
//! The format is in `Documentation/bpf/btf.rst`. [`Btf::parse`] checks what is needed to reach every type and string safely;
//! [`crate::validate`] checks that the types make sense. The input is never copied: a view holds the slice and four bytes a type.
//!
//! Headers of 24 bytes (until Linux 7.0) and 32 bytes (with the layout section that tells the payload of each kind) are
//! known. In longer ones the rest must be zero, as the kernel demands. A type of an unknown kind is skipped where a layout section
//! tells its length, and an error otherwise.

use bstr::{BStr, ByteSlice};

use crate::error::{Error, Result};
use crate::kind::{Info, Kind, Payload, TYPE_HEADER_LEN};
use crate::types::Type;
use crate::{Endian, StrOffset, TypeId};

/// BTF's magic number.
pub const MAGIC: u16 = 0xeb9f;
/// Length in bytes of the header that every reader knows, and that we write.
pub const HEADER_LEN: usize = 24;
/// Length in bytes of the longest header known, with the layout section's place.
const LONG_HEADER_LEN: usize = 32;

/// Longest name in bytes that is copied from one blob into another: twice what a kernel accepts (`KSYM_NAME_LEN`). Names may overlap in a blob, but
/// not in one that we write, so without a limit a few megabytes could ask for terabytes.
pub(crate) const MAX_COPIED_NAME: usize = 1023;

/// A borrowed view of one BTF blob, alone or as a split on top of a base.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    data: &'a [u8],
    endian: Endian,
    sections: Header,
    type_start: usize,
    strings: &'a [u8],
    /// Start of each own type in bytes from `type_start`, and the end of the last one.
    starts: Vec<u32>,
    base: Option<&'a Btf<'a>>,
    /// Id of the first own type: 1 without a base.
    first_id: u32,
    /// Offset of the first own string: 0 without a base.
    first_string: u32,
}

impl<'a> Btf<'a> {
    /// Reads a self-contained BTF blob of either byte order.
    pub fn parse(data: &'a [u8]) -> Result<Btf<'a>> {
        Self::parse_on(data, None, |_, _, _, _| {})
    }

    /// As [`Btf::parse`], and tells of each type on the way: the string section, the id, the kind (`None` for one that can only be skipped) and where the name is,
    /// which may be outside. For whoever looks at all types anyway: each record says where the next one starts, and while the processor waits for that it has
    /// time for `see`.
    ///
    /// # Errors
    /// Those of [`Btf::parse`]; `see` may have been called before.
    pub fn parse_seeing(
        data: &'a [u8],
        see: impl FnMut(&'a [u8], TypeId, Option<Kind>, StrOffset),
    ) -> Result<Btf<'a>> {
        Self::parse_on(data, None, see)
    }

    /// Reads split BTF (a module's): its type ids and string offsets continue those of `base`.
    pub fn parse_split(data: &'a [u8], base: &'a Btf<'a>) -> Result<Btf<'a>> {
        Self::parse_on(data, Some(base), |_, _, _, _| {})
    }

    fn parse_on(
        data: &'a [u8],
        base: Option<&'a Btf<'a>>,
        mut see: impl FnMut(&'a [u8], TypeId, Option<Kind>, StrOffset),
    ) -> Result<Btf<'a>> {
        let header = Header::parse(data)?;
        if base.is_some_and(|base| base.endian != header.endian) {
            return Err(Error::BaseEndian);
        }
        let types = header.section(data, "type", header.types, 4)?;
        let strings = header.section(data, "string", header.strings, 1)?;
        let layout = header.section(data, "layout", header.layout, 4)?;
        header.check_overlap(data)?;
        check_strings(strings, header.place(header.strings), base.is_some())?;

        let first_id = base.map_or(1, Btf::type_count);
        let first_string = base.map_or(0, Btf::string_end);
        if u64::from(first_string) + strings.len() as u64 > u64::from(u32::MAX) {
            return Err(Error::TooLarge {
                what: "strings of base and split together, in bytes",
                value: u64::from(first_string) + strings.len() as u64,
                limit: u64::from(u32::MAX),
            });
        }
        let type_start = header.place(header.types) as usize;
        let see = |id, kind, name| see(strings, id, kind, name);
        let starts = index(types, type_start, header.endian, layout, first_id, see)?;
        Ok(Btf {
            data,
            endian: header.endian,
            sections: header,
            type_start,
            strings,
            starts,
            base,
            first_id,
            first_string,
        })
    }

    /// The blob's bytes, as given.
    pub fn bytes(&self) -> &'a [u8] {
        self.data
    }

    /// The blob's byte order.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The base that this split BTF continues.
    pub fn base(&self) -> Option<&'a Btf<'a>> {
        self.base
    }

    /// One more than the last type id; void, the id 0, counts.
    pub fn type_count(&self) -> u32 {
        self.first_id + self.starts.len() as u32 - 1
    }

    /// The first id that is this blob's own rather than its base's (1 without a base).
    pub fn first_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// One more than the last string offset, counting the base's strings.
    pub fn string_end(&self) -> u32 {
        self.first_string + self.strings.len() as u32
    }

    /// The blob's own string section.
    pub fn string_section(&self) -> &'a [u8] {
        self.strings
    }

    /// Whether there is a layout section, which tells the payload of each kind (Linux 7.1).
    pub fn has_layout(&self) -> bool {
        self.sections.layout.1 != 0
    }

    /// Whether nothing comes after the strings, as every kernel before 7.1 demands.
    pub(crate) fn strings_are_last(&self) -> bool {
        self.sections.place(self.sections.strings) + self.strings.len() as u64 == self.data.len() as u64
    }

    /// An error about one of the blob's own sections.
    pub(crate) fn section_error(&self, section: &'static str, reason: &'static str) -> Error {
        let place = if section == "type" { self.sections.types } else { self.sections.strings };
        Error::Section { section, offset: self.sections.place(place), len: place.1.into(), reason }
    }

    /// The type with this id, from the base where it belongs there. Void (0) is no type.
    ///
    /// # Errors
    /// [`Error::NoSuchType`] for 0 and ids past the last type; [`Error::UnknownKind`] for a type that could only be skipped.
    #[inline]
    pub fn ty(&self, id: TypeId) -> Result<Type<'a>> {
        if id.0 < self.first_id
            && let Some(base) = self.base
        {
            return base.ty(id);
        }
        let slot =
            id.0.checked_sub(self.first_id)
                .map(|own| own as usize)
                .filter(|&own| own + 1 < self.starts.len())
                .ok_or(Error::NoSuchType { id, count: self.type_count() })?;
        let start = self.type_start + self.starts[slot] as usize;
        let end = self.type_start + self.starts[slot + 1] as usize;
        Type::new(id, start as u64, &self.data[start..end], self.endian)
    }

    /// This blob's own types in id order, without the base's.
    pub fn types(&self) -> impl ExactSizeIterator<Item = Result<Type<'a>>> + '_ {
        self.starts.windows(2).enumerate().map(|(slot, range)| {
            let (start, end) = (self.type_start + range[0] as usize, self.type_start + range[1] as usize);
            Type::new(TypeId(self.first_id + slot as u32), start as u64, &self.data[start..end], self.endian)
        })
    }

    /// What the headers of this blob's own types say, in id order: kind (`None` for one that could only be skipped) and name. A third of the time of
    /// [`Self::types`].
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (TypeId, Option<Kind>, StrOffset)> + '_ {
        // A section without types may be said to lie anywhere.
        let types = self.data.get(self.type_start..).unwrap_or_default();
        let own = &self.starts[..self.starts.len() - 1];
        own.iter().enumerate().map(move |(slot, &start)| {
            let header = types.get(start as usize..).and_then(|rest| rest.first_chunk::<TYPE_HEADER_LEN>());
            // A header of eight bytes would have been refused when the blob was read.
            let header = header.unwrap_or(&[0; TYPE_HEADER_LEN]);
            let word = |at| self.endian.u32_at(header, at).unwrap_or_default();
            let kind = Kind::from_number(Info(word(4)).kind_number());
            (TypeId(self.first_id + slot as u32), kind, StrOffset(word(0)))
        })
    }

    /// The string at this offset of the string section, without its terminating zero; offset 0 is the empty string.
    pub fn string(&self, offset: StrOffset) -> Result<&'a BStr> {
        let tail = self.string_tail(offset)?;
        // The section ends in a zero byte (checked when it was read), so there is always one to find.
        let end = tail.find_byte(0).unwrap_or(tail.len());
        Ok(tail[..end].as_bstr())
    }

    /// A string that is to be copied, as [`Self::string`].
    ///
    /// # Errors
    /// As [`Self::string`], and [`Error::TooLarge`] for strings longer than [`MAX_COPIED_NAME`].
    pub(crate) fn copied_string(&self, offset: StrOffset) -> Result<&'a BStr> {
        self.string_within(offset, MAX_COPIED_NAME)
    }

    /// As [`Self::string`], and takes no more time than `limit` bytes do: strings may overlap, so that all together can be as long as the square of the blob.
    ///
    /// # Errors
    /// As [`Self::string`], and [`Error::TooLarge`] for strings of more than `limit` bytes.
    pub fn string_within(&self, offset: StrOffset, limit: usize) -> Result<&'a BStr> {
        let tail = self.string_tail(offset)?;
        let tail = &tail[..tail.len().min(limit.saturating_add(1))];
        let end = tail.find_byte(0).ok_or(Error::TooLarge {
            what: "a name, in bytes",
            value: tail.len() as u64,
            limit: limit as u64,
        })?;
        Ok(tail[..end].as_bstr())
    }

    /// The string section from this offset on; never empty.
    pub(crate) fn string_tail(&self, offset: StrOffset) -> Result<&'a [u8]> {
        if offset.0 < self.first_string
            && let Some(base) = self.base
        {
            return base.string_tail(offset);
        }
        self.strings
            .get((offset.0 - self.first_string) as usize..)
            .filter(|tail| !tail.is_empty())
            .ok_or_else(|| Error::NoSuchString { offset: offset.0, len: self.string_end().into() })
    }

    /// The INT that tells the size of a pointer: the first one of 4 or 8 bytes named `long` in any of its spellings.
    pub fn long_type(&self) -> Option<Type<'a>> {
        const LONG: [&[u8]; 11] = [
            b"long",
            b"long int",
            b"int long",
            b"unsigned long",
            b"long unsigned",
            b"unsigned long int",
            b"unsigned int long",
            b"long unsigned int",
            b"long int unsigned",
            b"int unsigned long",
            b"int long unsigned",
        ];
        let of_own = || {
            self.types().flatten().find(|ty| {
                ty.kind() == Kind::Int
                    && matches!(ty.size(), Some(4 | 8))
                    && self.name(ty).is_ok_and(|name| LONG.iter().any(|long| name == long))
            })
        };
        self.base.and_then(Btf::long_type).or_else(of_own)
    }

    /// Size of a pointer in bytes, as libbpf guesses it: that of [`Btf::long_type`]. `None` if there is none.
    pub fn pointer_size(&self) -> Option<u32> {
        self.long_type()?.size()
    }

    /// The name of a type; empty for an anonymous one.
    pub fn name(&self, ty: &Type<'_>) -> Result<&'a BStr> {
        self.string(ty.name_offset())
    }
}

#[derive(Clone, Debug)]
/// `struct btf_header`, with the sections' (offset, length) relative to the header's end.
struct Header {
    endian: Endian,
    len: u32,
    types: (u32, u32),
    strings: (u32, u32),
    layout: (u32, u32),
}

impl Header {
    fn parse(data: &[u8]) -> Result<Header> {
        let truncated = |needed: usize| Error::Truncated {
            what: "header",
            offset: 0,
            needed: needed as u64,
            have: data.len() as u64,
        };
        let magic = Endian::Little.u16_at(data, 0).ok_or_else(|| truncated(HEADER_LEN))?;
        let endian = match magic {
            MAGIC => Endian::Little,
            swapped if swapped.swap_bytes() == MAGIC => Endian::Big,
            found => return Err(Error::Magic { found }),
        };
        let word = |at: usize| endian.u32_at(data, at).ok_or_else(|| truncated(HEADER_LEN));
        let (version, flags, len) = match data {
            [_, _, version, flags, ..] => (*version, *flags, word(4)?),
            _ => return Err(truncated(HEADER_LEN)),
        };
        if version != 1 {
            return Err(Error::Version { found: version });
        }
        if flags != 0 {
            return Err(Error::Flags { found: flags });
        }
        if (len as usize) < HEADER_LEN {
            return Err(Error::Section {
                section: "header",
                offset: 0,
                len: len.into(),
                reason: "must be at least 24 bytes",
            });
        }
        let bytes = data.get(..len as usize).ok_or_else(|| truncated(len as usize))?;
        let layout = if bytes.len() >= LONG_HEADER_LEN { (word(24)?, word(28)?) } else { (0, 0) };
        let known = if bytes.len() >= LONG_HEADER_LEN { LONG_HEADER_LEN } else { HEADER_LEN };
        if let Some(at) = bytes[known..].iter().position(|&byte| byte != 0) {
            return Err(Error::NewerHeader { len, known: known as u32, offset: (known + at) as u64 });
        }
        Ok(Header { endian, len, types: (word(8)?, word(12)?), strings: (word(16)?, word(20)?), layout })
    }

    /// Offset of a section from the start of the blob.
    fn place(&self, (offset, _): (u32, u32)) -> u64 {
        u64::from(self.len) + u64::from(offset)
    }

    fn section<'a>(
        &self,
        data: &'a [u8],
        name: &'static str,
        (offset, len): (u32, u32),
        align: u32,
    ) -> Result<&'a [u8]> {
        let start = self.place((offset, len));
        let fail = |reason| Error::Section { section: name, offset: start, len: len.into(), reason };
        if !offset.is_multiple_of(align) || !len.is_multiple_of(align) {
            return Err(fail("not a multiple of 4"));
        }
        if len == 0 {
            return Ok(&[]);
        }
        let end = start + u64::from(len);
        if end > data.len() as u64 {
            return Err(fail("reaches past the end of the data"));
        }
        Ok(&data[start as usize..end as usize])
    }

    /// Sections may not overlap, leave gaps, or be followed by anything, as in the kernel's `btf_check_sec_info`.
    fn check_overlap(&self, data: &[u8]) -> Result<()> {
        let mut sections = [("type", self.types), ("string", self.strings), ("layout", self.layout)];
        sections.sort_by_key(|&(_, place)| place);
        let mut end = u64::from(self.len);
        for (section, place) in sections {
            if place.1 == 0 {
                continue;
            }
            let start = self.place(place);
            let fail = |reason| Err(Error::Section { section, offset: start, len: place.1.into(), reason });
            if start < end {
                return fail("overlaps the section before it");
            }
            if start > end {
                return fail("leaves a gap after the section before it");
            }
            end = start + u64::from(place.1);
        }
        if end < data.len() as u64 {
            return Err(Error::Section {
                section: "last",
                offset: end,
                len: data.len() as u64 - end,
                reason: "is followed by bytes that belong to no section",
            });
        }
        Ok(())
    }
}

/// A string section starts (unless split) and ends with a zero byte.
fn check_strings(strings: &[u8], offset: u64, split: bool) -> Result<()> {
    let fail = |reason| Err(Error::Section { section: "string", offset, len: strings.len() as u64, reason });
    if strings.is_empty() {
        return if split { Ok(()) } else { fail("is empty") };
    }
    if strings.last() != Some(&0) {
        return fail("does not end with a zero byte");
    }
    if !split && strings.first() != Some(&0) {
        return fail("does not start with the empty string");
    }
    Ok(())
}

/// What each kind's records have behind their headers, by the kind's number.
const PAYLOADS: [Option<Payload>; 128] = {
    let mut payloads = [None; 128];
    let mut at = 0;
    while at < Kind::ALL.len() {
        payloads[Kind::ALL[at].number() as usize] = Some(Kind::ALL[at].payload());
        at += 1;
    }
    payloads
};

/// Where each type starts, and where the last one ends, in bytes from the start of the type section.
fn index(
    types: &[u8],
    offset: usize,
    endian: Endian,
    layout: &[u8],
    first_id: u32,
    mut see: impl FnMut(TypeId, Option<Kind>, StrOffset),
) -> Result<Vec<u32>> {
    // A kernel's types take 25 bytes on average; what is too much is given back.
    let mut starts = Vec::with_capacity(types.len() / 24 + 2);
    let mut at = 0;
    // Each record says where the next one starts, a hundred thousand times: what the kinds say comes from a table.
    while at < types.len() {
        starts.push(at as u32);
        let truncated = |needed: u64| Error::Truncated {
            what: "type",
            offset: (offset + at) as u64,
            needed,
            have: (types.len() - at) as u64,
        };
        let info = Info(endian.u32_at(types, at + 4).ok_or_else(|| truncated(TYPE_HEADER_LEN as u64))?);
        let payload = match PAYLOADS[usize::from(info.kind_number())] {
            Some(payload) => payload.len(info.vlen()), // a function's vlen is its linkage; nothing comes with it
            None => foreign_payload(layout, info).ok_or_else(|| Error::UnknownKind {
                id: TypeId(first_id + starts.len() as u32 - 1),
                offset: (offset + at) as u64,
                kind: info.kind_number(),
            })?,
        };
        let needed = TYPE_HEADER_LEN as u64 + payload;
        if needed > (types.len() - at) as u64 {
            return Err(truncated(needed));
        }
        let name = endian.u32_at(types, at).unwrap_or_default();
        let id = TypeId(first_id + starts.len() as u32 - 1);
        see(id, Kind::from_number(info.kind_number()), StrOffset(name));
        at += needed as usize;
    }
    starts.push(types.len() as u32);
    starts.shrink_to_fit();
    Ok(starts)
}

/// Payload length of a kind that this library does not know, from the blob's layout section (`struct btf_layout`:
/// `info_sz`, `elem_sz`, 16 bits of flags, indexed by kind).
fn foreign_payload(layout: &[u8], info: Info) -> Option<u64> {
    let number = info.kind_number();
    if number == 0 {
        return None;
    }
    let entry = layout.get(usize::from(number) * 4..)?.first_chunk::<4>()?;
    let payload = Payload { fixed: entry[0], element: entry[1] };
    let len = payload.len(info.vlen());
    len.is_multiple_of(4).then_some(len)
}
