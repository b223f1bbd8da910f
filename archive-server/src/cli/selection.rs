//! Which kernels a command copies: the arguments that `mirror` and `export` share.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use btf_archive::select::{Conditions, Inventory, Selection};

/// Which kernels.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SelectionArgs {
    /// Only kernels for which all conditions hold, as in 'distro=debian,ubuntu arch=x86_64 release>=4.18'.
    ///
    /// Conditions are on distro, version, arch and release, with =, != (both take lists and * and ?), <, <=, > and >= (on versions and releases).
    #[arg(long, value_name = "CONDITIONS")]
    select: Option<Conditions>,
    /// Only the kernels of these hosts: a file of build-ids, `uname -r` lines, keys, or what `btf-fetch status --json` printed on each.
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Leave out kernels' configurations.
    #[arg(long)]
    without_configs: bool,
    /// Leave out the BTF of kernels' modules, which is most of the bytes where it was made.
    #[arg(long)]
    without_modules: bool,
}

impl SelectionArgs {
    /// The selection; none if nothing was said.
    pub(crate) fn read(&self) -> Result<Option<Selection>> {
        let Self { select, inventory, without_configs, without_modules } = self.clone();
        let said = select.is_some() || inventory.is_some() || without_configs || without_modules;
        let inventory = inventory.map(|path| {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Inventory::parse(&text).with_context(|| path.display().to_string())
        });
        let (select, inventory) = (select.unwrap_or_default(), inventory.transpose()?);
        Ok(said.then_some(Selection { select, inventory, without_configs, without_modules }))
    }
}

/// A number of bytes: `650M`, `4G`; a decimal number and K, M, G or T of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a number of bytes, as 500000, 650M or 4G".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << power).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    /// Check that sizes are read with their units, and other text is not.
    #[test]
    fn selection_bytes() {
        for (text, size) in [("1", 1), ("650M", 650 << 20), ("4g", 4 << 30), ("10KiB", 10 << 10)] {
            assert_eq!(super::bytes(text), Ok(size), "{text}");
        }
        for text in ["", "0", "M", "-1", "1.5G", "1X", "99999999T", "1 M"] {
            super::bytes(text).unwrap_err();
        }
    }
}
