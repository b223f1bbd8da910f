//! Walking a blob's types: what typedefs and qualifiers stand for, and sizes, on either side of a relocation.

use btf::{BStr, Btf, Kind, StrOffset, Type, TypeId};

use crate::reason::Reason;

/// Longest name that is looked at, in bytes: eight times what a kernel accepts (`KSYM_NAME_LEN`).
pub(crate) const MAX_NAME: usize = 4096;
/// Longest name that is written: twice what a kernel accepts.
pub(crate) const MAX_WRITTEN_NAME: usize = 1023;
/// Longest chain of typedefs and qualifiers followed. C compilers nest a handful; libbpf would follow a cycle for ever.
const MAX_CHAIN: u32 = 4096;
/// Most steps from a type to its size (`MAX_RESOLVE_DEPTH` of libbpf).
const MAX_SIZE_STEPS: u32 = 32;

/// The types of one side: those of an object or those of a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Types<'m, 'a> {
    pub(crate) btf: &'m Btf<'a>,
    /// Size of a pointer in bytes.
    pub(crate) pointer_size: u32,
    /// Makes a reason of a fault of this side's BTF.
    pub(crate) fault: fn(btf::Error) -> Reason,
}

/// A type and its id, or void.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) id: TypeId,
    /// `None` for void.
    pub(crate) ty: Option<Type<'a>>,
}

impl<'a> Place<'a> {
    /// The kind; `None` for void.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.ty.map(|ty| ty.kind())
    }

    /// The struct or union, if it is one.
    pub(crate) fn composite(&self) -> Option<Type<'a>> {
        self.ty.filter(|ty| ty.kind().is_composite())
    }

    /// The enum or enum64, if it is one.
    pub(crate) fn any_enum(&self) -> Option<Type<'a>> {
        self.ty.filter(|ty| ty.kind().is_any_enum())
    }
}

/// A size, and whether it is that of pointers.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) bytes: u32,
    pub(crate) of_pointer: bool,
}

impl<'a> Types<'_, 'a> {
    /// The type with this id.
    pub(crate) fn get(self, id: TypeId) -> Result<Place<'a>, Reason> {
        let ty = if id == TypeId::VOID { None } else { Some(self.btf.ty(id).map_err(self.fault)?) };
        Ok(Place { id, ty })
    }

    /// What is left of a type without typedefs, qualifiers and type tags.
    pub(crate) fn skip(self, id: TypeId) -> Result<Place<'a>, Reason> {
        let mut place = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            match place.ty {
                Some(ty) if ty.kind().is_modifier() || ty.kind() == Kind::Typedef => {
                    place = self.get(ty.target().unwrap_or_default())?;
                }
                _ => return Ok(place),
            }
        }
        Err(Reason::Cyclic(id))
    }

    /// The size of a type in bytes, less than 4 GiB.
    pub(crate) fn size(self, id: TypeId) -> Result<Size, Reason> {
        let mut place = self.get(id)?;
        let mut elements = 1u32;
        for _ in 0..MAX_SIZE_STEPS {
            let Some(ty) = place.ty else { break };
            let next = match ty.kind() {
                Kind::Ptr => {
                    return total(id, elements, Size { bytes: self.pointer_size, of_pointer: true });
                }
                Kind::Array => {
                    let Some(array) = ty.array() else { break };
                    elements = elements.checked_mul(array.len).ok_or(Reason::SizeTooLarge(id))?;
                    array.element
                }
                Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag => ty.target().unwrap_or_default(),
                Kind::Fwd | Kind::Func | Kind::FuncProto => break,
                _ => {
                    let bytes = ty.size().unwrap_or_default();
                    return total(id, elements, Size { bytes, of_pointer: false });
                }
            };
            place = self.get(next)?;
        }
        Err(Reason::NoSize(id))
    }

    /// A string of this side.
    pub(crate) fn string(self, offset: StrOffset) -> Result<&'a BStr, Reason> {
        self.btf.string_within(offset, MAX_NAME).map_err(self.fault)
    }

    /// The name of a type; empty for void and anonymous types.
    pub(crate) fn name(self, place: Place<'a>) -> Result<&'a BStr, Reason> {
        self.string(place.ty.map_or(StrOffset(0), |ty| ty.name_offset()))
    }
}

fn total(id: TypeId, elements: u32, size: Size) -> Result<Size, Reason> {
    let bytes = size.bytes.checked_mul(elements).ok_or(Reason::SizeTooLarge(id))?;
    Ok(Size { bytes, ..size })
}

/// Whether types of these kinds can stand for each other at all: equal kinds, or both enums of any width.
pub(crate) fn kinds_compatible(one: Option<Kind>, other: Option<Kind>) -> bool {
    let is_enum = |kind: Option<Kind>| kind.is_some_and(Kind::is_any_enum);
    one == other || (is_enum(one) && is_enum(other))
}
