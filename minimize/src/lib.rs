//! CO-RE relocations of BPF objects: read them, resolve them against a kernel, and keep of the kernel's BTF what they need.
//!
//! A BPF program compiled once runs on many kernels because each access to a kernel type is recorded in the object's `.BTF.ext` as a
//! relocation, which the loader resolves against the BTF of the kernel at hand ("compile once, run everywhere"). This crate resolves them as
//! libbpf does, and [`minimize`] makes the BTF of a kernel small enough to ship: every relocation of every given object resolves against the
//! result exactly as against the whole.
//!
//! - [`Object`] is a BPF object with its [`Relocation`]s, checked and prepared once for any number of kernels.
//! - [`Kernel`] is a kernel's BTF with an index of its names, built once for any number of objects; [`WithModules`] adds that of modules.
//! - [`resolve`] and [`minimize`] bring them together, and [`check`] tells whether programs work on a kernel. Their work does not depend on the size of the kernel.
//!
//! The library does no I/O and keeps no state: slices in, values out; everything may be shared between threads. Input is hostile: no function
//! panics on any, and work is bounded by the size of the objects.
//!
//! ```
//! # use std::process::Command;
//! use btf_minimize::{Kernel, Object, minimize, resolve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let object = folder.path().join("task.o");
//! # let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/bpf/task.bpf.c");
//! # let mut clang = Command::new("clang");
//! # assert!(clang.args(["-target", "bpf", "-g", "-O2", "-c", source, "-o"]).arg(&object).status()?.success());
//! let objects = [std::fs::read(object)?];
//! let objects = [Object::parse(&objects[0])?];
//! let data = std::fs::read("/sys/kernel/btf/vmlinux")?;
//! let kernel = Kernel::open_for(&data, &objects)?;
//!
//! let minimized = minimize(&kernel, &objects)?;
//! for problem in &minimized.problems {
//!     let object = &objects[problem.object];
//!     eprintln!("{}: {}", object.describe(&object.relocations()[problem.relocation]), problem.reason);
//! }
//! let small = Kernel::open(&minimized.btf)?;
//! assert_eq!(resolve(&small, &objects[0]), resolve(&kernel, &objects[0]));
//! assert!(minimized.btf.len() < 1000);
//! # Ok(())
//! # }
//! ```
//!
//! # From an object to its minimised BTF
//!
//! `.BTF.ext` (module `ext`) → access strings understood in the object's own types (`spec`) → candidates in the kernel by essential name
//! (`kernel`, `flavour`) → each candidate matched (`fields`, `types_compat`, `types_match`) with a note of what was looked at (`trace`) →
//! the parts to keep (`keep`) → the blob (`emit`) → everything resolved again and compared (`minimize`).

pub mod check;
mod emit;
mod error;
mod ext;
mod fields;
mod flavour;
mod keep;
mod kernel;
mod minimize;
mod modules;
mod object;
mod reason;
mod relocation;
mod resolve;
mod spec;
mod trace;
mod types;
mod types_compat;
mod types_match;

pub use error::{Error, Result};
pub use flavour::essential_name;
pub use kernel::Kernel;
pub use minimize::{Minimized, Problem, minimize};
pub use modules::WithModules;
pub use object::Object;
pub use reason::Reason;
pub use relocation::{Relocation, RelocationKind};
pub use resolve::{Access, Resolution, resolve};
