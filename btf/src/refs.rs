//! Which words of a type record are type ids and which are string offsets.
//!
//! Everything that renumbers types or strings (deduplication, minimising, merging, deltas) goes through here, so that
//! the layout of references is written down once.

use crate::kind::{Info, Kind};

/// What a word of a type record refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ref {
    /// A type id.
    Type,
    /// An offset into the string section.
    String,
}

/// Calls `visit` with each word of a record (in native byte order) that is a reference, in the order of the words.
///
/// Records of unknown kind have no known references. A record shorter than its kind demands is visited as far as it goes.
#[inline]
pub fn visit_refs(record: &mut [u32], mut visit: impl FnMut(Ref, &mut u32)) {
    let [name, info, third, payload @ ..] = record else { return };
    let info = Info(*info);
    let Some(kind) = Kind::from_number(info.kind_number()) else { return };
    visit(Ref::String, name);
    if kind.refers() {
        visit(Ref::Type, third);
    }
    match kind {
        Kind::Array => {
            if let [element, index, ..] = payload {
                visit(Ref::Type, element);
                visit(Ref::Type, index);
            }
        }
        Kind::Struct | Kind::Union => {
            for [name, ty, _] in payload.as_chunks_mut().0 {
                visit(Ref::String, name);
                visit(Ref::Type, ty);
            }
        }
        Kind::FuncProto => {
            for [name, ty] in payload.as_chunks_mut().0 {
                visit(Ref::String, name);
                visit(Ref::Type, ty);
            }
        }
        Kind::Enum => {
            for [name, _] in payload.as_chunks_mut().0 {
                visit(Ref::String, name);
            }
        }
        Kind::Enum64 => {
            for [name, _, _] in payload.as_chunks_mut().0 {
                visit(Ref::String, name);
            }
        }
        Kind::Datasec => {
            for [ty, _, _] in payload.as_chunks_mut().0 {
                visit(Ref::Type, ty);
            }
        }
        _ => {}
    }
}

/// Calls `visit` with each word of a record that is a type id, as [`visit_refs`] does.
#[inline]
pub(crate) fn visit_type_refs_mut(record: &mut [u32], mut visit: impl FnMut(&mut u32)) {
    let [_, info, third, payload @ ..] = record else { return };
    let Some(kind) = Kind::from_number(Info(*info).kind_number()) else { return };
    if kind.refers() {
        visit(third);
    }
    match kind {
        Kind::Array => payload.iter_mut().take(2).for_each(visit),
        Kind::Struct | Kind::Union => payload.as_chunks_mut().0.iter_mut().for_each(|[_, ty, _]| visit(ty)),
        Kind::FuncProto => payload.as_chunks_mut().0.iter_mut().for_each(|[_, ty]| visit(ty)),
        Kind::Datasec => payload.as_chunks_mut().0.iter_mut().for_each(|[ty, _, _]| visit(ty)),
        _ => {}
    }
}

/// Calls `visit` with each type id of a record (in native byte order), void included, in the order of the words.
#[inline]
pub fn visit_type_refs(record: &[u32], mut visit: impl FnMut(u32)) {
    let [_, info, third, payload @ ..] = record else { return };
    let Some(kind) = Kind::from_number(Info(*info).kind_number()) else { return };
    if kind.refers() {
        visit(*third);
    }
    match kind {
        Kind::Array => payload.iter().take(2).for_each(|&ty| visit(ty)),
        Kind::Struct | Kind::Union => payload.as_chunks().0.iter().for_each(|&[_, ty, _]| visit(ty)),
        Kind::FuncProto => payload.as_chunks().0.iter().for_each(|&[_, ty]| visit(ty)),
        Kind::Datasec => payload.as_chunks().0.iter().for_each(|&[ty, _, _]| visit(ty)),
        _ => {}
    }
}
