//! The whole header: guard, types in order, kernel functions that BPF programs may call.

use std::collections::HashSet;

use bstr::ByteSlice;

use super::names::{Names, Scalar};
use super::order::{Item, order};
use super::print::Printer;
use crate::TypeId;
use crate::error::Result;
use crate::kind::Kind;
use crate::read::Btf;

/// What goes into a header.
#[derive(Clone, Debug, Default)]
pub struct HeaderOptions<'o> {
    /// Only these types and what they need. `None`: all, and the kernel functions that BPF programs may call.
    pub types: Option<&'o [TypeId]>,
    /// What the types are of, for the comment at the top: one line.
    pub about: &'o str,
}

/// A C header that declares a blob's types, for BPF programs that are compiled with clang.
///
/// Every struct and union has BTF's size, and every member its offset, when the header is compiled for a target whose pointers have the kernel's size.
/// (Compiled for BPF, whose pointers have 8 bytes, that of a 32-bit kernel has other offsets; CO-RE relocations put them right.) Structs get
/// `preserve_access_index` unless `BPF_NO_PRESERVE_ACCESS_INDEX` is defined; kernel functions are left out where `BPF_NO_KFUNC_PROTOTYPES` is.
///
/// # Errors
/// What reading the blob may answer, and types that contain each other too deep for C.
pub fn header(btf: &Btf<'_>, options: &HeaderOptions<'_>) -> Result<String> {
    let pointer_size = btf.pointer_size().unwrap_or(8);
    let names = Names::new(btf, pointer_size)?;
    let kfuncs = if options.types.is_none() { kernel_functions(btf)? } else { Vec::new() };
    let all: Vec<TypeId>;
    let wanted = match options.types {
        Some(types) => types,
        None => {
            all = types_with_names(btf)?;
            &all
        }
    };
    let has_alias = |id| matches!(names.scalar_of(id), Some(Scalar::Alias { .. }));
    let items = order(btf, wanted.iter().copied().chain(kfuncs.iter().copied()), has_alias)?;
    let mut printer = Printer::new(btf, names, pointer_size);

    let mut out = String::new();
    let about: String = options.about.chars().filter(|c| !c.is_control()).collect();
    out.push_str("#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n");
    if !about.is_empty() {
        out.push_str(&format!("/* {} */\n\n", about.replace("*/", "* /")));
    }
    out.push_str("#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n");
    out.push_str("#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n#endif\n\n");
    for item in items {
        match item {
            Item::Declare(id) => printer.declare(&mut out, id)?,
            Item::Define(id) if new_in_c23(btf, id)? => {
                out.push_str("#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L\n");
                printer.define(&mut out, id)?;
                out.truncate(out.trim_end().len());
                out.push_str("\n#endif\n\n");
            }
            Item::Define(id) => printer.define(&mut out, id)?,
        }
    }
    if !kfuncs.is_empty() {
        out.push_str("#ifndef BPF_NO_KFUNC_PROTOTYPES\n#ifndef __ksym\n#define __ksym __attribute__((section(\".ksyms\")))\n#endif\n");
        out.push_str("#ifndef __weak\n#define __weak __attribute__((weak))\n#endif\n\n");
        for id in kfuncs {
            let func = btf.ty(id)?;
            let name = super::names::identifier(btf, func.name_offset())?;
            let name = printer.names.ordinary(&name);
            out.push_str("extern ");
            printer.prototype(&mut out, &func, &name)?;
            out.push_str(" __weak __ksym;\n");
        }
        out.push_str("#endif\n\n");
    }
    out.push_str("#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n");
    out.push_str("#endif /* __VMLINUX_H__ */\n");
    Ok(out)
}

/// Everything that C can define, in the blob's order: what has a name, and unnamed enums, for their enumerators, that are part of nothing else.
fn types_with_names(btf: &Btf<'_>) -> Result<Vec<TypeId>> {
    let mut used = HashSet::new();
    let mut found = Vec::new();
    for id in (1..btf.type_count()).map(TypeId) {
        let ty = btf.ty(id)?;
        used.extend(ty.target());
        used.extend(ty.members().map(|member| member.ty));
        used.extend(ty.array().map(|array| array.element));
        used.extend(ty.params().map(|param| param.ty));
        let kind = ty.kind();
        if kind.is_any_enum() || ty.name_offset().0 != 0 && (kind.is_composite() || kind == Kind::Typedef) {
            found.push(id);
        }
    }
    let mut kept = Vec::with_capacity(found.len());
    for id in found {
        if btf.ty(id)?.name_offset().0 != 0 || !used.contains(&id) {
            kept.push(id);
        }
    }
    Ok(kept)
}

/// Functions that carry the tag `bpf_kfunc`.
fn kernel_functions(btf: &Btf<'_>) -> Result<Vec<TypeId>> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for id in (1..btf.type_count()).map(TypeId) {
        let tag = btf.ty(id)?;
        if tag.kind() != Kind::DeclTag || tag.component_index() != Some(-1) || btf.name(&tag)? != "bpf_kfunc"
        {
            continue;
        }
        let func = tag.target().unwrap_or_default();
        if func != TypeId::VOID && btf.ty(func)?.kind() == Kind::Func && seen.insert(func) {
            found.push(func);
        }
    }
    Ok(found)
}

/// Whether C23 has this by itself: the typedef `bool`, and the enum with `false` and `true`.
fn new_in_c23(btf: &Btf<'_>, id: TypeId) -> Result<bool> {
    let ty = btf.ty(id)?;
    Ok(match ty.kind() {
        Kind::Typedef => btf.name(&ty)? == "bool",
        Kind::Enum => {
            let mut words = ty.enumerators().map(|enumerator| btf.string(enumerator.name));
            words.any(|word| word.is_ok_and(|word| matches!(word.as_bytes(), b"true" | b"false")))
        }
        _ => false,
    })
}
