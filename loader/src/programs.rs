//! Handing BTF to the libraries that load programs: aya, libbpf-rs, libbpf.
//!
//! None of them is a dependency, so any version will do: [`aya_btf!`](crate::aya_btf) names the caller's own aya, and
//! [`Loader::custom_path`] is what `btf_custom_path` of libbpf and libbpf-rs takes.

use std::path::PathBuf;

use crate::{Error, Kernel, Loader, Place};

/// The BTF that was found, as aya's `Btf`: for `EbpfLoader::btf` of aya from 0.13 on, and `BpfLoader::btf` before.
///
/// aya up to 0.14 loads a program unrelocated, without an error, where it is given no BTF and the kernel has none: find it
/// first, and stop where there is none.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let found = btf_loader::Loader::from_env()?.get()?;
/// let btf = btf_loader::aya_btf!(aya, found)?;
/// let ebpf = aya::EbpfLoader::new().btf(Some(&btf)).load_file("program.bpf.o")?;
/// # drop(ebpf); Ok(())
/// # }
/// ```
///
/// The first argument is the crate, by whatever name the caller has it; the answer is `aya::Btf::parse`'s.
#[macro_export]
macro_rules! aya_btf {
    ($aya:ident, $found:expr) => {
        $aya::Btf::parse($found.btf(), $aya::Endianness::default())
    };
}

impl Loader {
    /// The path for libbpf's `bpf_object_open_opts::btf_custom_path`, or libbpf-rs's `ObjectBuilder::btf_custom_path`;
    /// `None` where libbpf finds the BTF itself, because it is the kernel's own.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = libbpf_rs::ObjectBuilder::default();
    /// if let Some(path) = btf_loader::Loader::from_env()?.custom_path()? {
    ///     builder.btf_custom_path(path)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Loader::get`] and [`Loader::raw_file`].
    pub fn custom_path(&self) -> Result<Option<PathBuf>, Error> {
        let located = self.locate(&Kernel::running(&self.settings().root)?)?;
        let own = matches!(located.place, Place::Kernel { .. });
        Ok((!own).then_some(located.path))
    }
}
