//! A kernel with modules: their split BTF put behind the kernel's own types, in one blob.
//!
//! Loaders look a type up in the kernel's BTF first, and in that of its modules only if the kernel has none of that name and kind
//! (`bpf_core_find_cands` of libbpf). They do so only on kernels that show the BTF of modules; where minimised BTF comes out of a file, the modules' types
//! must be in it.

use std::collections::HashSet;

use btf::{Btf, Builder, Ref, TypeId, visit_refs};
use object::{Object as _, ObjectSection as _};

use crate::error::{Error, Result};
use crate::flavour::essential_name;
use crate::kernel::{Kernel, may_be_asked_for, raw};
use crate::object::Object;
use crate::types::MAX_NAME;

/// A kernel's BTF and that of some of its modules.
#[derive(Clone, Debug)]
pub struct WithModules {
    blob: Vec<u8>,
    /// The first id that is a module's.
    first: TypeId,
}

impl WithModules {
    /// Puts modules together with their kernel. Each file is raw BTF or ELF (a vmlinux, a `.ko`); a module's is split BTF on this kernel's, or stands alone.
    ///
    /// # Errors
    /// What [`Kernel::open`] answers, for the kernel; [`Error::Module`] for a module, among others for one whose BTF is made for another kernel, as far as that shows.
    pub fn new(kernel: &[u8], modules: &[&[u8]]) -> Result<WithModules> {
        let kernel = Btf::parse(raw(kernel)?)?;
        let mut builder = Builder::new();
        for ty in kernel.types() {
            builder.add_copy(&kernel, &ty?, |id| id)?;
        }
        for (index, module) in modules.iter().enumerate() {
            append(&mut builder, &kernel, module, index).map_err(|error| match error {
                error @ Error::Module { .. } => error,
                error => Error::Module { index, reason: error.to_string() },
            })?;
        }
        Ok(WithModules { blob: builder.finish(kernel.endian())?, first: TypeId(kernel.type_count()) })
    }

    /// As [`Self::new`], for these objects only, and `None` where no module has anything for them: modules are left out that have no type of which the objects ask
    /// and the kernel has none, which are nearly all of them.
    ///
    /// # Errors
    /// Those of [`Self::new`]; nothing but the names is looked at in modules that are left out.
    pub fn for_objects(
        kernel: &Kernel<'_>,
        modules: &[&[u8]],
        objects: &[Object<'_>],
    ) -> Result<Option<WithModules>> {
        let lacking: HashSet<&[u8]> = kernel.lacking(objects).collect();
        let mut useful = Vec::new();
        for (index, module) in modules.iter().enumerate() {
            let wrong = |error: Error| Error::Module { index, reason: error.to_string() };
            if !lacking.is_empty() && has_any(kernel.btf(), module, &lacking).map_err(wrong)? {
                useful.push(index);
            }
        }
        if useful.is_empty() {
            return Ok(None);
        }
        let chosen: Vec<_> = useful.iter().map(|&index| modules[index]).collect();
        Self::new(kernel.btf().bytes(), &chosen).map(Some).map_err(|error| match error {
            Error::Module { index, reason } => Error::Module { index: useful[index], reason },
            error => error,
        })
    }

    /// Opens them for any number of objects.
    ///
    /// # Errors
    /// Those of [`Kernel::open`].
    pub fn open(&self) -> Result<Kernel<'_>> {
        Ok(Kernel::open(&self.blob)?.with_modules_from(self.first))
    }

    /// Opens them for these objects, as [`Kernel::open_for`].
    ///
    /// # Errors
    /// Those of [`Kernel::open`].
    pub fn open_for(&self, objects: &[Object<'_>]) -> Result<Kernel<'_>> {
        Ok(Kernel::open_for(&self.blob, objects)?.with_modules_from(self.first))
    }
}

/// Whether a module has a type of its own with one of these essential names.
fn has_any(kernel: &Btf<'_>, module: &[u8], names: &HashSet<&[u8]>) -> Result<bool> {
    let module = parse(kernel, module)?;
    for (_, kind, name) in module.headers() {
        if may_be_asked_for(kind, name)
            && names.contains(essential_name(module.string_within(name, MAX_NAME)?))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A module's BTF: split on the kernel's, or alone. The strings of split BTF go on after those of its base, and do not start with an empty one.
fn parse<'b>(kernel: &'b Btf<'b>, module: &'b [u8]) -> Result<Btf<'b>> {
    let data = raw(module)?;
    Ok(Btf::parse(data).or_else(|_| Btf::parse_split(data, kernel))?)
}

/// Adds a module's own types.
fn append(all: &mut Builder, kernel: &Btf<'_>, module: &[u8], index: usize) -> Result<()> {
    if module.starts_with(b"\x7fELF")
        && object::File::parse(module)
            .is_ok_and(|file| file.section_by_name(".BTF.base").is_some_and(|base| base.size() > 0))
    {
        let reason =
            "its BTF has a base of its own (.BTF.base), which only a running kernel puts on its types";
        return Err(Error::Module { index, reason: reason.into() });
    }
    let module = parse(kernel, module)?;
    let (first, moved) = (module.first_id().0, all.next_id().0);
    let renumber = |id: TypeId| if id < TypeId(first) { id } else { TypeId(id.0 - first + moved) };
    let count = module.type_count();
    for ty in module.types() {
        let ty = ty?;
        let (mut unknown, mut foreign) = (None, false);
        visit_refs(&mut ty.words().collect::<Vec<_>>(), |what, word| match what {
            Ref::Type if *word >= count => unknown = Some(TypeId(*word)),
            Ref::Type => {}
            Ref::String => foreign |= module.base().is_some() && !begins(&module, *word),
        });
        if let Some(id) = unknown {
            return Err(btf::Error::NoSuchType { id, count }.into());
        }
        if foreign {
            let reason = "its BTF is for another kernel: a name of it starts within one of this kernel's";
            return Err(Error::Module { index, reason: reason.into() });
        }
        all.add_copy(&module, &ty, renumber)?;
    }
    Ok(())
}

/// Whether a string starts at an offset of a module or its base. On another base than its own, a module's offsets fall anywhere.
fn begins(module: &Btf<'_>, offset: u32) -> bool {
    let Some(base) = module.base() else { return true };
    let (strings, at) = match offset.checked_sub(base.string_end()) {
        Some(own) => (module.string_section(), own),
        None => (base.string_section(), offset),
    };
    at.checked_sub(1).is_none_or(|before| strings.get(before as usize) == Some(&0))
}
