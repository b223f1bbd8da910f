//! What types refer to (the kernel's `btf_check_all_types`): it must exist, be of a fitting kind, and end in types of known size.
//!
//! Types are resolved depth first, each once, on an explicit stack of at most [`MAX_DEPTH`]. How far a walk goes depends on where it started: a
//! pointer does not need the struct behind it, and a struct does not need what its pointers point to; else no list could be described.
//! The walk that starts at a type therefore has a [`Mode`] that says where it may stop.

use super::{invalid, is_link, members};
use crate::TypeId;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::read::Btf;
use crate::types::{Int, Param, Type};

/// How deep the kernel follows references from one type.
const MAX_DEPTH: usize = 32;

pub(super) fn check(btf: &Btf<'_>, pointer_size: u32) -> Result<()> {
    let own = btf.types().len();
    let mut resolver = Resolver {
        btf,
        pointer_size,
        states: vec![State::New; own],
        resolved: vec![Resolved { ty: TypeId::VOID, size: 0 }; own],
        named_params: vec![false; btf.type_count() as usize],
        stack: Vec::with_capacity(MAX_DEPTH),
        mode: Mode::Open,
    };
    for ty in btf.types() {
        let ty = ty?;
        resolver.resolve(&ty)?;
        if ty.kind() == Kind::FuncProto {
            resolver.check_func_proto(&ty)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// On the stack.
    Open,
    Done,
}

/// Where a walk may stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing yet says: at types that refer to nothing.
    Open,
    /// It went through a pointer: anywhere but at pointers, qualifiers and typedefs.
    Pointer,
    /// It went through a struct or an array: anywhere but at structs, arrays, qualifiers and typedefs.
    Container,
}

/// What a resolved type stands for.
#[derive(Clone, Copy)]
struct Resolved {
    /// Behind qualifiers and typedefs: the type that they qualify; for FUNC, PTR, VAR and DECL_TAG what they refer to.
    ty: TypeId,
    /// Size of an array in bytes.
    size: u32,
}

/// A type being resolved.
#[derive(Clone, Copy)]
struct Frame<'a> {
    ty: Type<'a>,
    /// The first member or variable that is not checked yet.
    next: u32,
}

/// What one step of resolving a type came to.
enum Step<'a> {
    /// This type has to be resolved first.
    Wait(Type<'a>),
    Done(Resolved),
}

pub(super) struct Resolver<'a> {
    btf: &'a Btf<'a>,
    pub(super) pointer_size: u32,
    /// Of the blob's own types; the base's are taken to be resolved.
    states: Vec<State>,
    resolved: Vec<Resolved>,
    /// Function types, the base's too, of which all parameters are known to have names.
    named_params: Vec<bool>,
    stack: Vec<Frame<'a>>,
    mode: Mode,
}

impl<'a> Resolver<'a> {
    /// The type with this id; `None` is void.
    fn get(&self, id: TypeId) -> Result<Option<Type<'a>>> {
        if id == TypeId::VOID { Ok(None) } else { self.btf.ty(id).map(Some) }
    }

    /// Place of an own type in the tables.
    fn own(&self, id: TypeId) -> Option<usize> {
        id.0.checked_sub(self.btf.first_id().0).map(|place| place as usize)
    }

    fn is_resolved(&self, id: TypeId) -> bool {
        // Void is in nobody's table; the kernel counts it as resolved only where there is a base, which makes no difference.
        self.own(id).is_none_or(|place| self.states[place] == State::Done)
    }

    fn must_wait(&self, ty: &Type<'_>) -> bool {
        !self.may_stop_at(ty.kind()) && !self.is_resolved(ty.id())
    }

    fn may_stop_at(&self, kind: Kind) -> bool {
        match self.mode {
            Mode::Open => !needs_resolving(kind),
            Mode::Pointer => !is_link(kind) && kind != Kind::Ptr,
            Mode::Container => !is_link(kind) && !kind.is_composite() && kind != Kind::Array,
        }
    }

    fn push(&mut self, ty: Type<'a>) -> Result<()> {
        if self.stack.len() == MAX_DEPTH {
            return Err(invalid(&ty, format!("types nest more than {MAX_DEPTH} deep here")));
        }
        let state = self.own(ty.id()).map(|place| &mut self.states[place]);
        match state {
            Some(state @ State::New) => *state = State::Open,
            _ => return Err(invalid(&ty, "it contains itself")),
        }
        self.stack.push(Frame { ty, next: 0 });
        if self.mode == Mode::Open {
            match ty.kind() {
                Kind::Ptr => self.mode = Mode::Pointer,
                Kind::Struct | Kind::Union | Kind::Array => self.mode = Mode::Container,
                _ => {}
            }
        }
        Ok(())
    }

    /// Resolves a type and all that it needs.
    fn resolve(&mut self, root: &Type<'a>) -> Result<()> {
        if !needs_resolving(root.kind()) || self.is_resolved(root.id()) {
            return Ok(());
        }
        self.mode = Mode::Open;
        self.push(*root)?;
        while let Some(&frame) = self.stack.last() {
            match self.step(frame)? {
                Step::Wait(ty) => self.push(ty)?,
                Step::Done(resolved) => {
                    self.stack.pop();
                    if let Some(place) = self.own(frame.ty.id()) {
                        self.resolved[place] = resolved;
                        self.states[place] = State::Done;
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, frame: Frame<'a>) -> Result<Step<'a>> {
        let ty = &frame.ty;
        match ty.kind() {
            Kind::Array => self.array(ty),
            Kind::Struct | Kind::Union => self.composite(frame),
            Kind::Var => self.var(ty),
            Kind::Datasec => self.datasec(frame),
            Kind::Func => self.func(ty),
            Kind::DeclTag => self.decl_tag(ty),
            _ => self.reference(ty),
        }
    }

    /// What a type that refers to another refers to.
    fn target(&self, ty: &Type<'a>) -> Result<Option<Type<'a>>> {
        let target = self.get(TypeId(ty.size_or_type()))?;
        match target {
            Some(target) if only_refers(target.kind()) => Err(refers_wrongly(ty, &target)),
            _ => Ok(target),
        }
    }

    /// The pointer that a qualified pointer qualifies, if it has to be resolved first. A walk through structs stops at pointers, so a qualifier
    /// that it resolved may end in a pointer that is still unresolved.
    fn pointer_behind(&self, target: &Type<'a>) -> Result<Option<Type<'a>>> {
        if !is_link(target.kind()) {
            return Ok(None);
        }
        let behind = self.get(self.resolution(target.id())?.ty)?;
        Ok(behind.filter(|behind| behind.kind() == Kind::Ptr && self.must_wait(behind)))
    }

    /// PTR, qualifiers, typedefs, type tags.
    fn reference(&mut self, ty: &Type<'a>) -> Result<Step<'a>> {
        let Some(target) = self.target(ty)? else {
            return Ok(Step::Done(Resolved { ty: TypeId::VOID, size: 0 }));
        };
        if self.must_wait(&target) {
            return Ok(Step::Wait(target));
        }
        if ty.kind() == Kind::Ptr
            && let Some(pointer) = self.pointer_behind(&target)?
        {
            return Ok(Step::Wait(pointer));
        }
        if let Some((end, _)) = self.sized(target)? {
            return Ok(Step::Done(Resolved { ty: end.id(), size: 0 }));
        }
        // What has no size may still be void, an unknown struct, or a function's type.
        let end = if needs_resolving(target.kind()) && self.is_resolved(target.id()) {
            self.get(self.resolution(target.id())?.ty)?
        } else {
            Some(target)
        };
        match end {
            None => Ok(Step::Done(Resolved { ty: TypeId::VOID, size: 0 })),
            Some(end) if matches!(end.kind(), Kind::Fwd | Kind::FuncProto) => {
                Ok(Step::Done(Resolved { ty: end.id(), size: 0 }))
            }
            Some(_) => Err(refers_wrongly(ty, &target)),
        }
    }

    fn var(&mut self, ty: &Type<'a>) -> Result<Step<'a>> {
        let Some(target) = self.target(ty)? else {
            return Err(invalid(ty, "a variable must not be void"));
        };
        if self.must_wait(&target) {
            return Ok(Step::Wait(target));
        }
        if let Some(pointer) = self.pointer_behind(&target)? {
            return Ok(Step::Wait(pointer));
        }
        match self.sized(target)? {
            Some((end, _)) => Ok(Step::Done(Resolved { ty: end.id(), size: 0 })),
            None => Err(invalid(ty, format!("its type {} has no size", target.id()))),
        }
    }

    fn array(&mut self, ty: &Type<'a>) -> Result<Step<'a>> {
        let Some(array) = ty.array() else { return Err(invalid(ty, "is no array")) };
        let mut element = (TypeId::VOID, 0);
        for (what, id) in [("index", array.index), ("element", array.element)] {
            let no_size = || invalid(ty, format!("its {what} type {id} has no size"));
            let part = self.get(id)?.filter(|part| may_have_size(part.kind())).ok_or_else(no_size)?;
            if self.must_wait(&part) {
                return Ok(Step::Wait(part));
            }
            let (end, size) = self.sized(part)?.ok_or_else(no_size)?;
            let int = end.int();
            if int.is_some_and(|int| !is_regular(int)) || (what == "index" && int.is_none()) {
                return Err(invalid(ty, format!("its {what} type {id} is no integer of whole bytes")));
            }
            element = (end.id(), size);
        }
        let (end, size) = element;
        match size.checked_mul(array.len) {
            Some(size) => Ok(Step::Done(Resolved { ty: end, size })),
            None => Err(invalid(ty, "its size is over 2^32 bytes")),
        }
    }

    fn composite(&mut self, frame: Frame<'a>) -> Result<Step<'a>> {
        let ty = &frame.ty;
        for place in frame.next..ty.vlen() {
            let Some(member) = ty.member(place) else { break };
            let member_type = self.get(member.ty)?.filter(|member| may_have_size(member.kind()));
            let Some(member_type) = member_type else {
                return Err(invalid(ty, format!("member {place}: its type {} has no size", member.ty)));
            };
            if self.must_wait(&member_type) {
                self.come_back_at(place);
                return Ok(Step::Wait(member_type));
            }
            if let Err(reason) = members::check(self, ty, &member, member_type)? {
                return Err(invalid(ty, format!("member {place}: {reason}")));
            }
        }
        Ok(Step::Done(Resolved { ty: TypeId::VOID, size: 0 }))
    }

    fn datasec(&mut self, frame: Frame<'a>) -> Result<Step<'a>> {
        let ty = &frame.ty;
        self.mode = Mode::Open;
        for place in frame.next..ty.vlen() {
            let Some(entry) = ty.section_var(place) else { break };
            let var = self.get(entry.ty)?.filter(|var| var.kind() == Kind::Var);
            let Some(var) = var else {
                return Err(invalid(ty, format!("variable {place}: type {} is no VAR", entry.ty)));
            };
            if self.must_wait(&var) {
                // As in the kernel, the size is checked only for variables that come before their section.
                self.come_back_at(place + 1);
                return Ok(Step::Wait(var));
            }
            let size = match self.get(TypeId(var.size_or_type()))? {
                Some(ty) => self.sized(ty)?.map(|(_, size)| size),
                None => None,
            };
            if size.is_none_or(|size| size > entry.size) {
                return Err(invalid(ty, format!("variable {place}: is smaller than its type")));
            }
        }
        Ok(Step::Done(Resolved { ty: TypeId::VOID, size: 0 }))
    }

    /// Where to go on in the type on top of the stack.
    fn come_back_at(&mut self, place: u32) {
        if let Some(frame) = self.stack.last_mut() {
            frame.next = place;
        }
    }

    fn func(&mut self, ty: &Type<'a>) -> Result<Step<'a>> {
        let proto = self.get(TypeId(ty.size_or_type()))?.filter(|proto| proto.kind() == Kind::FuncProto);
        let Some(proto) = proto else {
            return Err(invalid(ty, format!("its type {} is no FUNC_PROTO", TypeId(ty.size_or_type()))));
        };
        let named = &mut self.named_params[proto.id().0 as usize];
        if !*named {
            let unnamed = |param: Param| param.name.0 == 0 && param.ty != TypeId::VOID;
            if let Some(place) = proto.params().position(unnamed) {
                return Err(invalid(ty, format!("parameter {place} has no name")));
            }
            *named = true;
        }
        Ok(Step::Done(Resolved { ty: proto.id(), size: 0 }))
    }

    fn decl_tag(&mut self, ty: &Type<'a>) -> Result<Step<'a>> {
        use Kind::{Func, Struct, Typedef, Union, Var};
        let target = self.get(TypeId(ty.size_or_type()))?;
        let target = target.filter(|target| matches!(target.kind(), Func | Struct | Union | Var | Typedef));
        let Some(target) = target else {
            return Err(invalid(ty, format!("type {} cannot be tagged", TypeId(ty.size_or_type()))));
        };
        if self.must_wait(&target) {
            return Ok(Step::Wait(target));
        }
        let index = ty.component_index().unwrap_or(-1);
        if index != -1 {
            let components = match target.kind() {
                Func => self.get(TypeId(target.size_or_type()))?.map_or(0, |proto| proto.vlen()),
                Struct | Union => target.vlen(),
                _ => 0,
            };
            if index as u32 >= components {
                return Err(invalid(ty, format!("{} has no component {index}", target.id())));
            }
        }
        Ok(Step::Done(Resolved { ty: target.id(), size: 0 }))
    }

    /// Result and parameters of a function's type must have sizes; the last parameter may be `...`.
    fn check_func_proto(&mut self, ty: &Type<'a>) -> Result<()> {
        let result = TypeId(ty.size_or_type());
        if result != TypeId::VOID && !self.is_passed_by_value(result)? {
            return Err(invalid(ty, format!("its result type {result} has no size")));
        }
        let last = ty.vlen().wrapping_sub(1);
        for (place, param) in (0..).zip(ty.params()) {
            if place == last && param.ty == TypeId::VOID {
                if param.name.0 != 0 {
                    return Err(invalid(ty, "`...` has a name"));
                }
                break;
            }
            if !self.is_passed_by_value(param.ty)? {
                return Err(invalid(ty, format!("parameter {place}: its type {} has no size", param.ty)));
            }
        }
        Ok(())
    }

    fn is_passed_by_value(&mut self, id: TypeId) -> Result<bool> {
        let Some(ty) = self.get(id)?.filter(|ty| !only_refers(ty.kind())) else { return Ok(false) };
        self.resolve(&ty)?;
        Ok(self.sized(ty)?.is_some())
    }

    /// The type with a size that a resolved type stands for, and that size in bytes; `None` if it has no size.
    pub(super) fn sized(&self, ty: Type<'a>) -> Result<Option<(Type<'a>, u32)>> {
        let end = if is_link(ty.kind()) || ty.kind() == Kind::Var {
            match self.get(self.resolution(ty.id())?.ty)? {
                Some(end) => end,
                None => return Ok(None),
            }
        } else {
            ty
        };
        Ok(match end.kind() {
            Kind::Ptr => Some((end, self.pointer_size)),
            Kind::Array => Some((end, self.resolution(end.id())?.size)),
            _ => end.size().map(|size| (end, size)),
        })
    }

    /// What a type was resolved to; one of the base is followed now.
    fn resolution(&self, id: TypeId) -> Result<Resolved> {
        match self.own(id) {
            Some(place) => Ok(self.resolved[place]),
            None => self.base_resolution(id),
        }
    }

    fn base_resolution(&self, id: TypeId) -> Result<Resolved> {
        let mut end = id;
        let mut size = 1u32;
        let mut is_array = false;
        // The base is taken to be valid; the bound keeps the walk finite in one that is not.
        for _ in 0..=MAX_DEPTH {
            let Some(ty) = self.get(end)? else { return Ok(Resolved { ty: TypeId::VOID, size: 0 }) };
            match ty.array() {
                Some(array) if is_array || end == id => {
                    is_array = true;
                    size = size.saturating_mul(array.len);
                    end = array.element;
                }
                None if is_link(ty.kind()) || matches!(ty.kind(), Kind::Func | Kind::Var) => {
                    end = TypeId(ty.size_or_type());
                }
                _ => {
                    let element =
                        if ty.kind() == Kind::Ptr { self.pointer_size } else { ty.size().unwrap_or(0) };
                    return Ok(Resolved {
                        ty: end,
                        size: if is_array { size.saturating_mul(element) } else { 0 },
                    });
                }
            }
        }
        Err(Error::TooLarge {
            what: "depth of types of the base",
            value: MAX_DEPTH as u64 + 1,
            limit: MAX_DEPTH as u64,
        })
    }
}

/// Kinds that refer to other types, and so have to be resolved.
fn needs_resolving(kind: Kind) -> bool {
    use Kind::{Array, Datasec, DeclTag, Func, Ptr, Struct, Union, Var};
    is_link(kind) || matches!(kind, Ptr | Struct | Union | Array | Var | Func | DeclTag | Datasec)
}

/// Kinds that no type may refer to, but for a DATASEC to its VARs and a DECL_TAG to a VAR.
fn only_refers(kind: Kind) -> bool {
    matches!(kind, Kind::Var | Kind::DeclTag | Kind::Datasec)
}

/// Kinds of types that may be a member or an element.
fn may_have_size(kind: Kind) -> bool {
    !only_refers(kind) && !matches!(kind, Kind::Fwd | Kind::Func | Kind::FuncProto)
}

/// Whether an integer is no bitfield: 1, 2, 4, 8 or 16 whole bytes.
pub(super) fn is_regular(int: Int) -> bool {
    int.bit_offset == 0 && matches!(int.bits, 8 | 16 | 32 | 64 | 128)
}

fn refers_wrongly(ty: &Type<'_>, target: &Type<'_>) -> Error {
    invalid(ty, format!("cannot refer to {} {}", target.kind(), target.id()))
}
