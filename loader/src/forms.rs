//! BTF in other forms, computed here, so that any static mirror will do: for old readers, with the modules' types, or
//! with no more than some objects need. (As an ELF file: [`elf`](crate::elf).)

use btf::{Btf, Form};
use btf_archive::modules::Modules;

use crate::error::{Attempt, Error, Place, Reason};
use crate::{Found, Kernel, Loader};

/// What readers from libbpf 0.5 (the first with `btf_custom_path`) on know: no ENUM64, no tags.
const OLD: Form = Form::for_libbpf(0, 5);

/// Why BTF could not be given another form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The BTF, or a module's, does not allow it.
    #[error("{what}: {source}")]
    Btf {
        /// What was being rewritten.
        what: String,
        /// What is wrong with it.
        source: btf::Error,
    },
    /// No place has the BTF of the modules.
    #[error("no BTF of the modules{}", crate::error::listed(.attempts))]
    NoModules {
        /// The places asked, in order.
        attempts: Vec<Attempt>,
    },
    /// An object cannot be read, or the BTF not be minimised for it.
    #[cfg(feature = "minimize")]
    #[error("{what}: {source}")]
    Minimize {
        /// Which object, or what else.
        what: String,
        /// What is wrong.
        source: btf_minimize::Error,
    },
    /// A relocation of an object holds nowhere in this kernel.
    #[cfg(feature = "minimize")]
    #[error("{what}")]
    Unresolved {
        /// The relocation, and why.
        what: String,
    },
    /// The running kernel cannot be told.
    #[error(transparent)]
    Machine(#[from] Error),
}

fn btf_error(what: &str) -> impl FnOnce(btf::Error) -> FormError {
    let what = what.to_owned();
    move |source| FormError::Btf { what, source }
}

/// The same BTF for readers that know neither ENUM64 nor tags: libbpf before 1.0, and what is built on it.
///
/// # Errors
/// [`FormError::Btf`].
pub fn no_enum64(raw: &[u8]) -> Result<Vec<u8>, FormError> {
    let what = "rewriting without ENUM64";
    let btf = Btf::parse(raw).map_err(btf_error(what))?;
    let builder = OLD.apply(&btf).map_err(btf_error(what))?;
    builder.finish(btf.endian()).map_err(btf_error(what))
}

/// The kernel's BTF and that of its modules, each with its name, as one: for loaders that take one BTF for everything.
///
/// # Errors
/// [`FormError::Btf`], naming the module.
pub fn merged<'a>(
    raw: &[u8],
    modules: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, FormError> {
    let kernel = Btf::parse(raw).map_err(btf_error("the kernel"))?;
    let parse = |(name, raw): (&str, &'a [u8])| Btf::parse_split(raw, &kernel).map_err(btf_error(name));
    let modules = modules.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let builder = btf::merge(&kernel, &modules).map_err(btf_error("merging"))?;
    builder.finish(kernel.endian()).map_err(btf_error("merging"))
}

/// The part of a kernel's BTF that these objects need: the relocations of each resolve as with all of it.
///
/// # Errors
/// [`FormError::Minimize`], [`FormError::Unresolved`] for a relocation that this kernel has nothing for.
#[cfg(feature = "minimize")]
pub fn minimised(raw: &[u8], objects: &[&[u8]]) -> Result<Vec<u8>, FormError> {
    use btf_minimize::{Kernel, Object, minimize};

    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| FormError::Minimize { what, source }
    };
    let mut parsed = Vec::with_capacity(objects.len());
    for (number, object) in objects.iter().enumerate() {
        parsed.push(Object::parse(object).map_err(failed(&format!("object {}", number + 1)))?);
    }
    let objects = parsed;
    let kernel = Kernel::open_for(raw, &objects).map_err(failed("the kernel"))?;
    let minimised = minimize(&kernel, &objects).map_err(failed("minimising"))?;
    if let Some(problem) = minimised.problems.first() {
        let object = &objects[problem.object];
        let relocation = object.describe(&object.relocations()[problem.relocation]);
        return Err(FormError::Unresolved { what: format!("{relocation}: {}", problem.reason) });
    }
    Ok(minimised.btf)
}

impl Loader {
    /// What was found, merged with the BTF of its kernel's modules out of a directory or an archive that has them.
    ///
    /// # Errors
    /// [`FormError::NoModules`] with what each place said, [`FormError::Btf`].
    pub fn with_modules(&self, kernel: &Kernel, found: &Found) -> Result<Vec<u8>, FormError> {
        let mut attempts = Vec::new();
        for place in self.trees() {
            match self.modules_of(&place, kernel, found) {
                Ok(bytes) => {
                    let modules = match Modules::parse(&bytes) {
                        Ok(modules) => modules,
                        Err(error) => {
                            attempts.push(Attempt { place, reason: error.into() });
                            continue;
                        }
                    };
                    return merged(found.btf(), modules.iter());
                }
                Err(reason) => attempts.push(Attempt { place, reason }),
            }
        }
        Err(FormError::NoModules { attempts })
    }

    /// The modules' BTF out of one place, split on just the BTF that was found.
    fn modules_of(&self, place: &Place, kernel: &Kernel, found: &Found) -> Result<Vec<u8>, Reason> {
        let max_size = self.settings().max_size.saturating_mul(4);
        let bytes = self.in_tree(place, &|tree| {
            let digest = tree.record(kernel)?.modules.ok_or(Reason::NoModules)?;
            tree.blob(&digest, max_size)
        })?;
        let base = Modules::parse(&bytes)?.base();
        if base != found.digest() {
            return Err(Reason::WrongKernel {
                what: "base of the modules",
                expected: found.digest().to_string(),
                found: base.to_string(),
            });
        }
        Ok(bytes)
    }
}
