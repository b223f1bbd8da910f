//! What a relocation means in the object's own types: its access string, understood.
//!
//! Source: `bpf_core_parse_spec` of libbpf.

use btf::{BStr, Endian, TypeId};

use crate::fields::{self, Field};
use crate::flavour::essential_name;
use crate::reason::Reason;
use crate::relocation::{Relocation, RelocationKind};
use crate::types::Types;

/// Most steps of an access string (`BPF_CORE_SPEC_MAX_LEN`).
pub(crate) const MAX_STEPS: usize = 64;

/// One step of an access that counts: a named member, an array index, or an enumerator. Anonymous members are looked through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accessor<'a> {
    /// The struct or union of a member, or the element's type of an array index; typedefs and qualifiers skipped.
    pub(crate) ty: TypeId,
    /// Index of the member, element or enumerator.
    pub(crate) index: u32,
    /// Name of the member or enumerator; `None` for an array index.
    pub(crate) name: Option<&'a BStr>,
}

/// A field: where an access ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landing<'a> {
    /// From the start of the root, in bits. Wraps around as libbpf's does.
    pub(crate) bit_offset: u32,
    /// The last step.
    pub(crate) last: Accessor<'a>,
}

/// A relocation understood in the object's types, ready to be matched against any kernel.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) kind: RelocationKind,
    pub(crate) root: TypeId,
    /// What the root's name must be in the kernel, without its flavour. Empty only for local type ids.
    pub(crate) root_name: &'a [u8],
    /// The steps; the first one is the array step on the root (0 for a plain access). Empty for relocations about types.
    pub(crate) accessors: Vec<Accessor<'a>>,
    /// Whether the size of the field counts besides its offset.
    pub(crate) with_access: bool,
    /// The field in the object's own types, for relocations about fields other than existence.
    pub(crate) local: Option<Field>,
    /// Byte order of the object, which is that of the machine it is loaded on.
    pub(crate) endian: Endian,
}

impl<'a> Spec<'a> {
    pub(crate) fn parse(types: Types<'_, 'a>, relocation: &Relocation<'_>) -> Result<Spec<'a>, Reason> {
        let kind = relocation.kind().ok_or(Reason::UnknownKind(relocation.kind_number))?;
        let root = types.get(relocation.root)?;
        let name = types.name(root)?;
        let mut spec = Spec {
            kind,
            root: root.id,
            root_name: essential_name(name),
            accessors: Vec::new(),
            with_access: relocation.is_memory_access && kind == RelocationKind::FieldByteOffset,
            local: None,
            endian: types.btf.endian(),
        };
        if kind.is_type() {
            if relocation.access != "0" {
                return Err(Reason::AccessString("of a relocation about a type is not \"0\""));
            }
            if kind == RelocationKind::TypeSize {
                types.size(root.id)?;
            }
        } else {
            let indices = parse_access(relocation.access)?;
            if kind.is_enumerator() {
                spec.accessors.push(enumerator(types, root.id, &indices)?);
            } else {
                let landing = spec.walk(types, &indices)?;
                if kind != RelocationKind::FieldExists {
                    spec.local = Some(fields::measure(types, kind, landing, spec.endian)?);
                }
            }
        }
        if name.is_empty() && kind != RelocationKind::TypeIdLocal {
            return Err(Reason::Anonymous);
        }
        Ok(spec)
    }

    /// Follows the indices from the root to the field, noting the steps that count.
    fn walk(&mut self, types: Types<'_, 'a>, indices: &[i32]) -> Result<Landing<'a>, Reason> {
        let mut id = types.skip(self.root)?.id;
        let mut last = Accessor { ty: id, index: indices[0] as u32, name: None };
        let mut bit_offset = bits(last.index, types.size(id)?.bytes);
        self.accessors.push(last);
        for &index in &indices[1..] {
            let place = types.skip(id)?;
            let element = index as u32;
            if let Some(composite) = place.composite() {
                let member = composite.member(element).ok_or(Reason::Index {
                    index,
                    of: composite.kind(),
                    len: composite.vlen(),
                })?;
                bit_offset = bit_offset.wrapping_add(member.bit_offset);
                if member.name.0 != 0 {
                    let name = types.string(member.name)?;
                    if name.is_empty() {
                        return Err(Reason::AccessString("goes to a member without a name"));
                    }
                    last = Accessor { ty: place.id, index: element, name: Some(name) };
                    self.accessors.push(last);
                }
                id = member.ty;
            } else if let Some(array) = place.ty.and_then(|ty| ty.array()) {
                if element >= array.len && !(array.len == 0 && is_last_member(types, &last)?) {
                    return Err(Reason::Index { index, of: btf::Kind::Array, len: array.len });
                }
                id = types.skip(array.element)?.id;
                last = Accessor { ty: id, index: element, name: None };
                self.accessors.push(last);
                bit_offset = bit_offset.wrapping_add(bits(element, types.size(id)?.bytes));
            } else {
                return Err(Reason::NoMembers(place.kind()));
            }
        }
        Ok(Landing { bit_offset, last })
    }
}

/// Whether this step went to the last member of a struct or union by its name: then an array of no elements is flexible, and every index is
/// inside.
pub(crate) fn is_last_member(types: Types<'_, '_>, step: &Accessor<'_>) -> Result<bool, Reason> {
    let Some(ty) = types.get(step.ty)?.ty.filter(|_| step.name.is_some()) else { return Ok(false) };
    Ok(u64::from(step.index) + 1 == u64::from(ty.vlen()))
}

/// Bits up to element `index` of an array of elements of `size` bytes, wrapping around as libbpf's 32-bit arithmetic does.
pub(crate) fn bits(index: u32, size: u32) -> u32 {
    index.wrapping_mul(size).wrapping_mul(8)
}

fn enumerator<'a>(types: Types<'_, 'a>, root: TypeId, indices: &[i32]) -> Result<Accessor<'a>, Reason> {
    let place = types.skip(root)?;
    let ty = place.any_enum().ok_or(Reason::NotAnEnum)?;
    let &[index] = indices else {
        return Err(Reason::AccessString("of an enumerator has more than one index"));
    };
    let enumerator = usize::try_from(index).ok().and_then(|index| ty.enumerators().nth(index));
    let enumerator = enumerator.ok_or(Reason::Index { index, of: ty.kind(), len: ty.vlen() })?;
    let name = types.string(enumerator.name)?;
    Ok(Accessor { ty: place.id, index: index as u32, name: Some(name) })
}

/// The numbers of an access string, read as C's `sscanf("%d")` reads them: libbpf takes what that takes.
fn parse_access(access: &[u8]) -> Result<Vec<i32>, Reason> {
    if access.is_empty() {
        return Err(Reason::AccessString("is empty"));
    }
    if access[0] == b':' {
        return Err(Reason::AccessString("starts with a colon"));
    }
    let mut indices = Vec::with_capacity(8);
    let mut left = access;
    while !left.is_empty() {
        left = left.strip_prefix(b":").unwrap_or(left);
        left = left.trim_ascii_start();
        let negative = left.first() == Some(&b'-');
        left = left.strip_prefix(b"-").or_else(|| left.strip_prefix(b"+")).unwrap_or(left);
        let digits = left.iter().take_while(|digit| digit.is_ascii_digit()).count();
        if digits == 0 {
            return Err(Reason::AccessString("is not numbers separated by colons"));
        }
        if indices.len() == MAX_STEPS {
            return Err(Reason::TooDeep);
        }
        let value = left[..digits].iter().fold(0i64, |value, digit| {
            let digit = i64::from(digit - b'0');
            let value = value.saturating_mul(10);
            if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) }
        });
        indices.push(value as i32);
        left = &left[digits..];
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that access strings are read as libbpf's `sscanf` reads them.
    #[test]
    fn access_strings() {
        for (access, indices) in [
            ("0", vec![0]),
            ("0:1:2", vec![0, 1, 2]),
            ("1234567:8", vec![1_234_567, 8]),
            ("-1:0", vec![-1, 0]),
            ("18446744073709551615:3", vec![-1, 3]),
            ("0: 1", vec![0, 1]),
        ] {
            assert_eq!(parse_access(access.as_bytes()), Ok(indices), "{access}");
        }
        for access in ["", ":", "0:", "0::1", "x", "0:x", ":0"] {
            assert!(parse_access(access.as_bytes()).is_err(), "{access}");
        }
        let deepest = ["0"; MAX_STEPS].join(":");
        assert_eq!(parse_access(deepest.as_bytes()).map(|indices| indices.len()), Ok(MAX_STEPS));
        assert_eq!(parse_access(format!("{deepest}:0").as_bytes()), Err(Reason::TooDeep));
    }
}
