//! The BTF of the running kernel, or a clear no.
//!
//! A BPF program compiled for CO-RE needs the types of the very kernel that it is loaded on. Kernels built with
//! `CONFIG_DEBUG_INFO_BTF` carry them in `/sys/kernel/btf/vmlinux`; for the others this library finds them:
//!
//! 1. `/sys/kernel/btf/vmlinux`;
//! 2. the files where libbpf looks too (`/boot/vmlinux-R` and so on), raw BTF or ELF with a `.BTF` section;
//! 3. the cache;
//! 4. the archives, in the order given.
//!
//! ```no_run
//! let found = btf_loader::Loader::from_env()?.get()?;
//! println!("{}: {} bytes, {}", found.place(), found.btf().len(), found.identity());
//! # Ok::<(), btf_loader::Error>(())
//! ```
//!
//! The BTF of another kernel loads without an error and makes programs read garbage. So what is found elsewhere than
//! in the kernel itself is matched by the kernel's build-id, which is exact; only where there is none, or no archive
//! knows it, by distribution, version, architecture and release. [`Found::identity`] says which, and
//! [`Settings::exact_only`] refuses the latter. Bytes are checked before anyone sees them: digest, size, byte order,
//! and that they are a kernel's BTF. Every outcome is a typed [`Reason`].
//!
//! What is where: [`Kernel`] is whose BTF is wanted, [`Settings`] where to look, [`Loader`] walks the places, and
//! each kind of place has a file of its own (`local`, `cache`, `remote`), which all end in `check`.

mod address;
#[cfg(feature = "tokio")]
mod asynchronous;
mod atomic;
mod cache;
mod check;
mod elf;
mod elf_form;
mod error;
mod events;
mod forms;
mod given;
mod http;
mod install;
mod kconfig;
mod kernel;
mod loader;
mod local;
mod locate;
mod misses;
mod namespace;
mod programs;
mod remote;
mod settings;
mod survey;
mod tree;

pub use address::Address;
pub use atomic::write_file;
pub use elf_form::elf;
pub use error::{Attempt, Candidate, Class, Error, NoBtf, Place, Reason};
pub use events::{Asked, Outcome};
#[cfg(feature = "minimize")]
pub use forms::minimised;
pub use forms::{FormError, merged, no_enum64};
pub use install::{InstallError, Receipt, install, installed, uninstall};
pub use kconfig::{Config, has_btf};
pub use kernel::Kernel;
pub use loader::{Found, Identity, Loader};
pub use local::fallback_paths;
pub use locate::Located;
pub use namespace::{NamespaceError, enter_with_btf};
pub use settings::{Embedded, Settings};
pub use survey::{Finding, Survey};

/// What a kernel of an archive is called; see [`btf_archive::Key`].
pub use btf_archive::{BuildId, Digest, Key};
