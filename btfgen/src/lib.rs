//! From distributions' kernel packages to BTF.
//!
//! The way of one kernel through this crate:
//!
//! - [`apt_sources`] says where this machine finds the Debian archive;
//! - [`distro`] knows the distributions: where their repositories are, and which of their packages hold kernels;
//! - [`repo`] reads a distribution's index and says which packages hold kernels;
//! - [`fetch`] brings a package's bytes over HTTP, and stops when nobody reads on;
//! - [`package`] finds vmlinux in the package while it streams by, and keeps it in memory, compressed;
//! - [`image`] finds the BTF inside a kernel as it is booted;
//! - [`elf`] reads vmlinux by offset, wherever it is kept;
//! - [`vmlinux`] takes the embedded `.BTF`, or converts DWARF;
//! - [`module`] makes modules' split BTF on top of a kernel's;
//! - [`route`] chooses the cheapest way from a kernel on offer to its BTF, and goes it;
//! - [`sync`] does all of that for every kernel that an archive lacks.
//!
//! Nothing here serves HTTP, and nothing unpacks an archive to disk.

pub mod apt_sources;
pub mod distro;
pub mod dwarf;
pub mod elf;
pub mod fetch;
pub mod image;
pub mod module;
pub mod package;
pub mod repo;
pub mod route;
pub mod sync;
pub mod vmlinux;
