//! Whether a type of the kernel matches the object's definition of it: `bpf_core_types_match` of libbpf.
//!
//! Names must be equal at each level. Each member of the object's struct must have one in the kernel's that matches in turn; behind a pointer only
//! name and kind count.

use btf::{Kind, Type, TypeId};

use crate::flavour::essential_name;
use crate::reason::Reason;
use crate::resolve::Matcher;
use crate::trace::{Event, Trace};

/// Most structs and functions within each other, and most pointers and arrays in a row.
const MAX_DEPTH: u32 = 32;

impl<'l, 'k, T: Trace> Matcher<'_, 'l, 'k, T> {
    /// Compares the type that a relocation names with a candidate.
    pub(crate) fn types_match(&mut self, local: TypeId, target: TypeId) -> Result<bool, Reason> {
        self.trace.note(Event::Type(target));
        self.matches(local, target, false, MAX_DEPTH)
    }

    fn matches(
        &mut self,
        mut local: TypeId,
        mut target: TypeId,
        mut behind_pointer: bool,
        levels_left: u32,
    ) -> Result<bool, Reason> {
        if levels_left == 0 {
            return Err(Reason::TooDeep);
        }
        for _ in 0..MAX_DEPTH {
            self.step()?;
            let (one, other) = (self.local.skip(local)?, self.target.skip(target)?);
            if !names_match(self.local.name(one)?, self.target.name(other)?) {
                return Ok(false);
            }
            let (Some(one), Some(other)) = (one.ty, other.ty) else {
                return Ok(one.kind() == other.kind());
            };
            let same = one.kind() == other.kind();
            match one.kind() {
                Kind::Fwd => {
                    let union = one.kind_flag();
                    return Ok(match other.kind() {
                        Kind::Fwd => union == other.kind_flag(),
                        Kind::Struct => behind_pointer && !union,
                        Kind::Union => behind_pointer && union,
                        _ => false,
                    });
                }
                Kind::Enum | Kind::Enum64 => {
                    return Ok(other.kind().is_any_enum() && self.enums_match(&one, &other)?);
                }
                Kind::Struct | Kind::Union if behind_pointer => {
                    let union = one.kind() == Kind::Union;
                    return Ok(same || (other.kind() == Kind::Fwd && other.kind_flag() == union));
                }
                Kind::Struct | Kind::Union => {
                    return Ok(same && self.composites_match(&one, &other, levels_left)?);
                }
                Kind::Int => {
                    let signed = |int: Option<btf::Int>| int.map(|int| int.encoding & btf::kind::INT_SIGNED);
                    return Ok(same
                        && one.size() == other.size()
                        && signed(one.int()) == signed(other.int()));
                }
                Kind::Ptr if same => {
                    self.trace.note(Event::Pointee(other.id()));
                    behind_pointer = true;
                    local = one.target().unwrap_or_default();
                    target = other.target().unwrap_or_default();
                }
                Kind::Array => {
                    let (Some(mine), Some(theirs)) = (one.array(), other.array()) else { return Ok(false) };
                    if mine.len != theirs.len {
                        return Ok(false);
                    }
                    (local, target) = (mine.element, theirs.element);
                }
                Kind::FuncProto if same => {
                    if one.vlen() != other.vlen() {
                        return Ok(false);
                    }
                    for (mine, theirs) in one.params().zip(other.params()) {
                        if !self.matches(mine.ty, theirs.ty, behind_pointer, levels_left - 1)? {
                            return Ok(false);
                        }
                    }
                    local = one.target().unwrap_or_default();
                    target = other.target().unwrap_or_default();
                }
                _ => return Ok(false),
            }
        }
        Err(Reason::TooDeep)
    }

    fn enums_match(&mut self, one: &Type<'l>, other: &Type<'k>) -> Result<bool, Reason> {
        if one.size() != other.size() || one.vlen() > other.vlen() {
            return Ok(false);
        }
        self.trace.note(Event::AtLeast(other.id(), one.vlen()));
        for mine in one.enumerators() {
            let name = self.local.string(mine.name)?;
            let mut found = None;
            for (index, theirs) in other.enumerators().enumerate() {
                self.step()?;
                if names_match(name, self.target.string(theirs.name)?) {
                    found = Some(index as u32);
                    break;
                }
            }
            match found {
                Some(index) => self.trace.note(Event::Enumerator(other.id(), index)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn composites_match(
        &mut self,
        one: &Type<'l>,
        other: &Type<'k>,
        levels_left: u32,
    ) -> Result<bool, Reason> {
        if one.vlen() > other.vlen() {
            return Ok(false);
        }
        self.trace.note(Event::AtLeast(other.id(), one.vlen()));
        for mine in one.members() {
            let name = self.local.string(mine.name)?;
            let mut found = false;
            for (index, theirs) in other.members().enumerate() {
                self.step()?;
                if !names_match(name, self.target.string(theirs.name)?) {
                    continue;
                }
                let mark = self.trace.mark();
                self.trace.note(Event::Member(other.id(), index as u32));
                found = self.matches(mine.ty, theirs.ty, false, levels_left - 1)?;
                if found {
                    break;
                }
                self.trace.fail(mark);
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether both names are empty or mean the same thing.
fn names_match(one: &[u8], other: &[u8]) -> bool {
    one.is_empty() == other.is_empty() && essential_name(one) == essential_name(other)
}
