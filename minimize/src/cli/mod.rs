//! The commands, and what they share: files in and out, and how a relocation is told.

pub(crate) mod bpftool;
pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
mod files;
pub(crate) mod header;
mod kernels;
mod modules;
pub(crate) mod relocs;
mod select;
mod telling;
