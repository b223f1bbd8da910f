//! What each DIE becomes, when it starts and when its children are read.

use btf::Kind;
use btf::dedup::{Name, head};

use super::{Attrs, Frame, Reader, vlen};
use crate::dwarf::functions::{Function, Param};
use crate::dwarf::locations::{Place, place_at_entry};
use crate::dwarf::members::Member;
use crate::dwarf::plan::{Plan, Role};
use crate::dwarf::references::UnitContext;
use crate::dwarf::tags::Carrier;
use crate::dwarf::unit_error::UnitError;
use crate::dwarf::variables::{Variable, address_of};

impl Reader<'_> {
    /// Takes in one DIE and tells what its children mean.
    pub(super) fn entry<const BIG: bool>(
        &mut self,
        offset: u32,
        plan: Plan,
        attrs: &Attrs<'_>,
        context: &mut UnitContext<'_, '_>,
    ) -> Result<Frame, UnitError> {
        let reference = |reader: &mut Self, kind: Kind, name: Name, ty: u32| {
            let id = reader.reserve(offset);
            reader.unit.define(id, head(name, kind, 0, false, ty), &[]);
            id
        };
        if attrs.signature != 0 {
            self.aliases.push((offset, attrs.signature));
            return Ok(Frame::Transparent);
        }
        let may_be_tagged = plan.has_children || self.rare.is_set;
        match plan.role {
            Role::Member => {
                if let Some(&Frame::Composite { id, kind, members_from, .. }) = self.frames.last() {
                    let member =
                        Member { name: attrs.name, ty: attrs.ty, size: attrs.byte_size, bits: attrs.bits };
                    if self.members.push(member, kind == Kind::Union) && may_be_tagged {
                        let index = (self.members.len() - members_from - 1) as u32;
                        return Ok(self.tagged(Carrier::Type(id, Some(index))));
                    }
                }
            }
            Role::Enumerator => {
                if let Some(Frame::Enumeration { negative, .. }) = self.frames.last_mut()
                    && let Some((value, below_zero)) = attrs.const_value
                {
                    *negative |= below_zero;
                    self.enumerators.push((attrs.name, value));
                }
            }
            Role::Parameter => {
                let place = match attrs.location.filter(|_| self.convention.needs_places()) {
                    Some(location) => {
                        let (lists, encoding) = (&context.sections.lists, context.place.encoding);
                        place_at_entry::<BIG>(location, lists, encoding, &mut context.lists_budget)
                    }
                    None => Place::default(),
                };
                self.functions.param(Param {
                    offset,
                    name: attrs.name,
                    ty: attrs.ty,
                    origin: attrs.origin,
                    has_location: attrs.location.is_some(),
                    place,
                    ellipsis: false,
                });
                if may_be_tagged && let Some(&Frame::Function { index }) = self.frames.last() {
                    let position = self.functions.last_position(index) as u32;
                    return Ok(self.tagged(Carrier::Function(index, Some(position))));
                }
            }
            Role::UnspecifiedParameters => self.functions.ellipsis(),
            Role::Subrange => {
                if let Some(Frame::Array { len, .. }) = self.frames.last_mut() {
                    *len = len.saturating_mul(attrs.bound.unwrap_or(0));
                }
            }
            Role::Pointer => {
                let id = reference(self, Kind::Ptr, Name::EMPTY, attrs.ty);
                if may_be_tagged {
                    return Ok(self.tagged(Carrier::Type(id, None)));
                }
            }
            Role::Typedef => {
                let id = reference(self, Kind::Typedef, attrs.name, attrs.ty);
                if may_be_tagged {
                    return Ok(self.tagged(Carrier::Type(id, None)));
                }
            }
            Role::Const | Role::Volatile | Role::Restrict => {
                let kind = match plan.role {
                    Role::Const => Kind::Const,
                    Role::Volatile => Kind::Volatile,
                    _ => Kind::Restrict,
                };
                reference(self, kind, Name::EMPTY, attrs.ty);
            }
            Role::Annotation => {
                let below = match self.frames.last() {
                    Some(&Frame::Composite { id, .. }) => Some(Carrier::Type(id, None)),
                    Some(&Frame::Function { index }) => Some(Carrier::Function(index, None)),
                    Some(&Frame::Tagged(carrier)) => Some(carrier),
                    _ => None,
                };
                self.tags.push(offset, attrs.name, self.rare.text, self.rare.annotation, below);
            }
            // Neither has a record of its own: a reference to one is a reference to what it stands for.
            Role::Atomic => self.aliases.push((offset, attrs.ty)),
            Role::Unspecified => self.aliases.push((offset, 0)),
            Role::BaseType => self.base_type(offset, attrs),
            Role::Struct | Role::Union => {
                let kind = if plan.role == Role::Union { Kind::Union } else { Kind::Struct };
                let id = self.reserve(offset);
                if attrs.declaration && attrs.name != Name::EMPTY {
                    let union = kind == Kind::Union;
                    self.unit.define(id, head(attrs.name, Kind::Fwd, 0, union, 0), &[]);
                    return Ok(Frame::Transparent);
                }
                // An unnamed declaration has no BTF of its own; an empty struct says as much.
                let size = self.size32(attrs.byte_size.unwrap_or(0));
                let members_from = self.members.len();
                self.tags.refer(Carrier::Type(id, None), self.rare.annotation);
                return Ok(Frame::Composite { id, kind, name: attrs.name, size, members_from });
            }
            Role::Enumeration => {
                let id = self.reserve(offset);
                let size = self.size32(attrs.byte_size.unwrap_or(4));
                let from = self.enumerators.len();
                if size == 8 && attrs.ty != 0 {
                    self.wide_enums.push((id, attrs.ty));
                }
                return Ok(Frame::Enumeration { id, name: attrs.name, size, from, negative: false });
            }
            Role::Array => {
                let id = self.reserve(offset);
                self.arrays.push(id);
                return Ok(Frame::Array { id, element: attrs.ty, len: 1 });
            }
            Role::SubroutineType => {
                let id = self.reserve(offset);
                let params_from = self.functions.params_len();
                return Ok(Frame::Prototype { id, result: attrs.ty, params_from });
            }
            Role::Subprogram => {
                let mut code = self.rare.code;
                code.clang = context.is_clang;
                if code.address.is_none() {
                    code.address = context.first_address::<BIG>(code.ranges);
                }
                let index = self.functions.begin(Function {
                    offset,
                    name: attrs.name,
                    result: attrs.ty,
                    origin: attrs.origin,
                    declaration: attrs.declaration,
                    code,
                    ..Function::default()
                });
                self.tags.refer(Carrier::Function(index, None), self.rare.annotation);
                return Ok(Frame::Function { index });
            }
            Role::Variable => {
                let index = |index| context.address::<BIG>(index);
                let address = address_of::<BIG>(attrs.location, context.place.encoding, index);
                self.variables.push(Variable {
                    offset,
                    name: attrs.name,
                    ty: attrs.ty,
                    origin: attrs.origin,
                    external: attrs.external,
                    size: 0,
                    address: address.filter(|_| !attrs.declaration && !self.rare.artificial),
                });
                if may_be_tagged {
                    return Ok(self.tagged(Carrier::Variable(self.variables.len() - 1)));
                }
            }
            Role::Opaque | Role::Transparent | Role::Unit => {}
        }
        Ok(Frame::Transparent)
    }

    /// Notes gcc's tags on something, and that clang's may stand below it.
    #[cold]
    fn tagged(&mut self, carrier: Carrier) -> Frame {
        self.tags.refer(carrier, self.rare.annotation);
        Frame::Tagged(carrier)
    }

    /// Whether parameters belong to what is being read.
    pub(super) fn takes_params(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Function { .. } | Frame::Prototype { .. }))
    }

    pub(super) fn finish_frame(&mut self, frame: Frame) -> Result<(), UnitError> {
        match frame {
            Frame::Transparent | Frame::Opaque | Frame::Tagged(_) => {}
            Frame::Composite { id, kind, name, size, members_from } => {
                self.members.define(
                    &mut self.unit,
                    id,
                    (kind, name, size),
                    members_from,
                    &mut self.degraded,
                )?;
            }
            Frame::Enumeration { id, name, size, from, negative } => {
                let enumerators = &self.enumerators[from..];
                let vlen = vlen(enumerators.len())?;
                let wide = size > 4;
                let mut payload = Vec::with_capacity(enumerators.len() * 3);
                for &(name, value) in enumerators {
                    payload.extend([name.word(), value as u32]);
                    if wide {
                        payload.push((value >> 32) as u32);
                    }
                }
                // Sizes that no enum has are a compiler's error; the nearest that holds the values is kept.
                let (kind, legal) = match size {
                    1 | 2 | 4 => (Kind::Enum, size),
                    0..=4 => (Kind::Enum, 4),
                    _ => (Kind::Enum64, 8),
                };
                self.degraded += u32::from(legal != size);
                self.unit.define(id, head(name, kind, vlen, negative, legal), &payload);
                self.enumerators.truncate(from);
            }
            Frame::Array { id, element, len } => {
                let len = u32::try_from(len).unwrap_or_else(|_| self.inexact(0));
                // The index type follows when the whole unit is read.
                self.unit.define(id, head(Name::EMPTY, Kind::Array, 0, false, 0), &[element, 0, len]);
            }
            Frame::Prototype { id, result, params_from } => {
                self.functions.define_prototype(&mut self.unit, id, result, params_from)?;
            }
            Frame::Function { index } => self.functions.end(index),
        }
        Ok(())
    }
}
