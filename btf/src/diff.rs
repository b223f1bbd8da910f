//! What changed between two blobs, type by type: members that came, went, moved or became something else.
//!
//! [`crate::compare()`] finds the types that differ, a type being what its own definition says (what it refers to by name is another type's matter). Here each
//! of them is looked into. Members of unnamed structs and unions count as members of the type around them, at their offset in it.

use std::collections::HashMap;

use bstr::ByteSlice;

use crate::c::Declarations;
use crate::compare::compare;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::Type;
use crate::{StrOffset, TypeId};

/// How deep unnamed types are followed.
const MAX_DEPTH: u32 = 32;
/// Members of one type that are looked at, those of unnamed types within it included.
const MAX_MEMBERS: usize = 100_000;

/// A named type that is not the same in both blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeChange {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// What became of it.
    pub change: Change,
}

/// What became of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second blob has it.
    Added,
    /// Only the first blob has it.
    Removed,
    /// Both have it, and differ.
    Changed(Vec<Detail>),
}

/// One difference within a type. Offsets are in bits from the start of the outermost type, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its size.
    Size {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A member that came.
    MemberAdded(Place),
    /// A member that went.
    MemberRemoved(Place),
    /// A member at another offset, or of another type or width.
    Member {
        /// Before.
        from: Place,
        /// After.
        to: Place,
    },
    /// An enumerator that came.
    EnumeratorAdded {
        /// Its name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// An enumerator that went.
    EnumeratorRemoved {
        /// Its name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// An enumerator with another value.
    Enumerator {
        /// Its name.
        name: String,
        /// Before.
        from: i64,
        /// After.
        to: i64,
    },
    /// What a typedef, function or variable is, as C writes it; or anything else about a type, in words.
    Definition {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
}

/// A member and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name; `a.b` for one within an unnamed struct that is member `a`, `a[].b` within an array of them.
    pub path: String,
    /// Its declaration in C.
    pub declaration: String,
    /// Offset in bits.
    pub bit_offset: u32,
    /// Width in bits of a bitfield; 0 for others.
    pub bit_width: u8,
}

/// Every named type that the two blobs do not agree on, in the order of kinds and names.
///
/// # Errors
/// What reading either blob may answer.
pub fn diff(a: &Btf<'_>, b: &Btf<'_>) -> Result<Vec<TypeChange>> {
    let comparison = compare(a, b)?;
    let (mut in_a, mut in_b) = (Declarations::new(a)?, Declarations::new(b)?);
    let mut changes = Vec::with_capacity(comparison.differences.len());
    for difference in &comparison.differences {
        // A tag belongs to what it is on; where in a section a variable is, is no matter of types.
        if matches!(difference.kind, Kind::DeclTag | Kind::Datasec) {
            continue;
        }
        let change = match (difference.a, difference.b) {
            (Some(old), Some(new)) => {
                let details = details((a, &mut in_a, &a.ty(old)?), (b, &mut in_b, &b.ty(new)?))?;
                if details.is_empty() {
                    continue;
                }
                Change::Changed(details)
            }
            (Some(_), None) => Change::Removed,
            (None, _) => Change::Added,
        };
        let name = difference.name.to_str_lossy().into_owned();
        changes.push(TypeChange { kind: difference.kind, name, change });
    }
    Ok(changes)
}

/// A type, and how its blob is written.
type Side<'s, 'b, 'a> = (&'b Btf<'a>, &'s mut Declarations<'b, 'a>, &'s Type<'a>);

fn details(from: Side<'_, '_, '_>, to: Side<'_, '_, '_>) -> Result<Vec<Detail>> {
    let mut details = Vec::new();
    match (from.2.size(), to.2.size()) {
        (Some(old), Some(new)) if old != new => details.push(Detail::Size { from: old, to: new }),
        _ => {}
    }
    match from.2.kind() {
        Kind::Struct | Kind::Union => {
            let (old, new) = (places(from)?, places(to)?);
            members(old, new, &mut details);
        }
        Kind::Enum | Kind::Enum64 => enumerators(from, to, &mut details)?,
        kind => {
            let words = |(btf, declarations, ty): Side<'_, '_, '_>| -> Result<String> {
                match kind {
                    Kind::Typedef | Kind::Func | Kind::Var => {
                        let name = crate::c::identifier(btf, ty.name_offset())?;
                        declarations.line(ty.target().unwrap_or_default(), &name)
                    }
                    _ => Ok(crate::describe(btf, ty.id())?.join("; ")),
                }
            };
            let (old, new) = (words(from)?, words(to)?);
            if old != new {
                details.push(Detail::Definition { from: old, to: new });
            }
        }
    }
    Ok(details)
}

fn members(old: Vec<Place>, new: Vec<Place>, details: &mut Vec<Detail>) {
    let mut before: HashMap<String, Place> =
        old.iter().map(|place| (place.path.clone(), place.clone())).collect();
    let mut there = Vec::new();
    for place in new {
        match before.remove(&place.path) {
            Some(same) if same == place => {}
            Some(from) => there.push(Detail::Member { from, to: place }),
            None => there.push(Detail::MemberAdded(place)),
        }
    }
    // What went, in the order in which it was; then the rest, in the order in which it is.
    details.extend(
        old.into_iter().filter(|place| before.remove(&place.path).is_some()).map(Detail::MemberRemoved),
    );
    details.extend(there);
}

fn enumerators(from: Side<'_, '_, '_>, to: Side<'_, '_, '_>, details: &mut Vec<Detail>) -> Result<()> {
    let names = |(btf, _, ty): Side<'_, '_, '_>| -> Result<Vec<(String, i64)>> {
        ty.enumerators().map(|one| Ok((name_of(btf, one.name)?, one.value))).collect()
    };
    let (old, new) = (names(from)?, names(to)?);
    let mut before: HashMap<&str, i64> = old.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut there = Vec::new();
    for (name, to) in &new {
        match before.remove(name.as_str()) {
            Some(from) if from == *to => {}
            Some(from) => there.push(Detail::Enumerator { name: name.clone(), from, to: *to }),
            None => there.push(Detail::EnumeratorAdded { name: name.clone(), value: *to }),
        }
    }
    for (name, value) in &old {
        if before.contains_key(name.as_str()) {
            details.push(Detail::EnumeratorRemoved { name: name.clone(), value: *value });
        }
    }
    details.extend(there);
    Ok(())
}

fn name_of(btf: &Btf<'_>, offset: StrOffset) -> Result<String> {
    Ok(crate::c::identifier(btf, offset)?.into_owned())
}

/// All members of a struct or union with a name, those of unnamed types within it too.
fn places((btf, declarations, ty): Side<'_, '_, '_>) -> Result<Vec<Place>> {
    let mut found = Vec::new();
    within(btf, declarations, ty, (String::new(), 0, 0), &mut found)?;
    Ok(found)
}

fn within<'b, 'a>(
    btf: &'b Btf<'a>,
    declarations: &mut Declarations<'b, 'a>,
    ty: &Type<'a>,
    (prefix, base, depth): (String, u32, u32),
    found: &mut Vec<Place>,
) -> Result<()> {
    for member in ty.members() {
        if found.len() > MAX_MEMBERS {
            let reason = format!("unnamed types within it have more than {MAX_MEMBERS} members");
            return Err(Error::Invalid { id: ty.id(), kind: ty.kind(), offset: ty.offset(), reason });
        }
        let name = name_of(btf, member.name)?;
        let bit_offset = base.saturating_add(member.bit_offset);
        let inner = unnamed_composite(btf, member.ty)?.filter(|_| depth < MAX_DEPTH);
        if let Some((inner, in_array)) = inner {
            let prefix = match (name.as_str(), in_array) {
                ("", _) => prefix.clone(),
                (name, false) => format!("{prefix}{name}."),
                (name, true) => format!("{prefix}{name}[]."),
            };
            within(btf, declarations, &inner, (prefix, bit_offset, depth + 1), found)?;
            if !in_array {
                continue;
            }
        }
        if !name.is_empty() {
            let declaration = declarations.line(member.ty, &name)?;
            let path = format!("{prefix}{name}");
            found.push(Place { path, declaration, bit_offset, bit_width: member.bit_width });
        }
    }
    Ok(())
}

/// The struct or union without a name that a type is, or is an array of.
fn unnamed_composite<'a>(btf: &Btf<'a>, mut id: TypeId) -> Result<Option<(Type<'a>, bool)>> {
    let mut in_array = false;
    for _ in 0..MAX_DEPTH {
        if id == TypeId::VOID {
            break;
        }
        let ty = btf.ty(id)?;
        match (ty.array(), ty.target()) {
            (Some(array), _) => (id, in_array) = (array.element, true),
            (None, Some(target)) if ty.kind().is_modifier() => id = target,
            _ => {
                let unnamed = ty.kind().is_composite() && ty.name_offset() == StrOffset(0);
                return Ok(unnamed.then_some((ty, in_array)));
            }
        }
    }
    Ok(None)
}
