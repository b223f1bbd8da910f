//! Whether a type of the kernel is what the object means by a name: `bpf_core_types_are_compat` of libbpf.
//!
//! Kinds must be equal at each level, through pointers, arrays and functions; names below the root and the insides of structs do not count.

use btf::{Kind, TypeId};

use crate::reason::Reason;
use crate::resolve::Matcher;
use crate::trace::{Event, Trace};
use crate::types::kinds_compatible;

/// Most functions within functions, and most pointers and arrays in a row.
const MAX_DEPTH: u32 = 32;

impl<T: Trace> Matcher<'_, '_, '_, T> {
    /// Compares the type that a relocation names with a candidate.
    pub(crate) fn types_compatible(&mut self, local: TypeId, target: TypeId) -> Result<bool, Reason> {
        self.trace.note(Event::Type(target));
        self.compatible(local, target, MAX_DEPTH)
    }

    fn compatible(&mut self, local: TypeId, target: TypeId, functions_left: u32) -> Result<bool, Reason> {
        if !kinds_compatible(self.local.get(local)?.kind(), self.target.get(target)?.kind()) {
            return Ok(false);
        }
        let (mut local, mut target) = (local, target);
        for _ in 0..MAX_DEPTH {
            self.step()?;
            let (one, other) = (self.local.skip(local)?, self.target.skip(target)?);
            if !kinds_compatible(one.kind(), other.kind()) {
                return Ok(false);
            }
            let (Some(one), Some(other)) = (one.ty, other.ty) else { return Ok(true) };
            match one.kind() {
                Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => return Ok(true),
                Kind::Int => {
                    let at_start = |int: Option<btf::Int>| int.is_some_and(|int| int.bit_offset == 0);
                    return Ok(at_start(one.int()) && at_start(other.int()));
                }
                Kind::Ptr => {
                    self.trace.note(Event::Pointee(other.id()));
                    local = one.target().unwrap_or_default();
                    target = other.target().unwrap_or_default();
                }
                Kind::Array => {
                    let element =
                        |array: Option<btf::Array>| array.map_or(TypeId::VOID, |array| array.element);
                    (local, target) = (element(one.array()), element(other.array()));
                }
                Kind::FuncProto => {
                    if one.vlen() != other.vlen() {
                        return Ok(false);
                    }
                    for (mine, theirs) in one.params().zip(other.params()) {
                        let functions_left = functions_left.checked_sub(1).ok_or(Reason::TooDeep)?;
                        let (mine, theirs) = (self.local.skip(mine.ty)?.id, self.target.skip(theirs.ty)?.id);
                        if !self.compatible(mine, theirs, functions_left)? {
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
}
