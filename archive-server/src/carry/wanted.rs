//! Which blobs a selection of kernels needs.

use std::collections::BTreeMap;

use btf_archive::select::Selection;
use btf_archive::{Digest, KernelRecord};

/// Blobs that are wanted, in order of their digests.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// How many kernels are selected.
    pub kernels: u64,
    /// The blobs, and what is known of each beforehand.
    pub blobs: BTreeMap<Digest, Hint>,
}

/// What is known of a blob before it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What it is, for messages: `BTF of debian/…`.
    pub what: String,
    /// Its recorded form: whole, a delta on this base, or not recorded.
    pub form: Recorded,
    /// Its recorded size as stored, in bytes.
    pub size: Option<u64>,
}

/// What a record says of a blob's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Whole.
    Whole,
    /// A delta on this base.
    Delta(Digest),
    /// Nothing.
    Nothing,
}

impl Wanted {
    /// What a selection of these kernels needs; not the bases of deltas that belong to other kernels.
    pub fn of<'k>(kernels: impl IntoIterator<Item = &'k KernelRecord>, selection: &Selection) -> Self {
        let mut wanted = Self::default();
        for kernel in kernels.into_iter().filter(|kernel| selection.takes(kernel)) {
            wanted.kernels += 1;
            let form = kernel.base.map_or(Recorded::Whole, Recorded::Delta);
            let hint = Hint { what: format!("BTF of {}", kernel.key), form, size: Some(kernel.zst_size) };
            wanted.blobs.entry(kernel.digest).or_insert(hint);
            let config = kernel.config.filter(|_| !selection.without_configs);
            let modules = kernel.modules.filter(|_| !selection.without_modules);
            for (digest, what) in [(config, "configuration"), (modules, "modules")] {
                let Some(digest) = digest else { continue };
                let what = format!("{what} of {}", kernel.key);
                wanted.blobs.entry(digest).or_insert(Hint { what, form: Recorded::Nothing, size: None });
            }
        }
        wanted
    }
}
