//! What every blob must pass before anyone sees it.
//!
//! A digest tells that the bytes are those the archive meant; this tells that they are what a loader needs: BTF that
//! holds together, of the byte order and pointer size of the kernel asked for, with the types of a kernel.

use btf::{Btf, Endian, Kind, ValidateOptions};

use crate::{Kernel, Reason};

/// The type that every kernel has, and every BPF tool reads.
const KERNEL_TYPE: &str = "task_struct";

/// Checks that `raw` is the BTF of some kernel of the same architecture as `kernel`, as far as BTF tells.
///
/// # Errors
/// [`Reason::NotBtf`]; [`Reason::WrongKernel`] for another byte order or pointer size.
pub(crate) fn kernel_btf(raw: &[u8], kernel: &Kernel) -> Result<(), Reason> {
    let btf = valid(raw, kernel)?;
    for ty in btf.types() {
        let ty = ty.map_err(not_btf)?;
        if ty.kind() == Kind::Struct && btf.name(&ty).map_err(not_btf)? == KERNEL_TYPE {
            return Ok(());
        }
    }
    Err(Reason::NotBtf(format!("it has no struct {KERNEL_TYPE}")))
}

/// Checks that `raw` may be a part of such BTF, minimised for some objects.
///
/// # Errors
/// Those of [`kernel_btf`].
pub(crate) fn minimised_btf(raw: &[u8], kernel: &Kernel) -> Result<(), Reason> {
    valid(raw, kernel).map(drop)
}

/// BTF that holds together, of the kernel's architecture.
fn valid<'a>(raw: &'a [u8], kernel: &Kernel) -> Result<Btf<'a>, Reason> {
    let btf = Btf::parse(raw).map_err(not_btf)?;
    differs("byte order", kernel.endian().map(order), Some(order(btf.endian())))?;
    differs("pointer size", kernel.pointer_size(), btf.pointer_size())?;

    // Nobody asks this kernel to load it, so limits that differ between kernels do not matter.
    let mut options = ValidateOptions::default();
    options.max_vlen = u32::MAX;
    btf::validate(&btf, &options).map_err(not_btf)?;
    Ok(btf)
}

fn not_btf(error: btf::Error) -> Reason {
    Reason::NotBtf(error.to_string())
}

/// Refuses BTF of another architecture. What is unknown is no difference.
fn differs<T: PartialEq + ToString>(
    what: &'static str,
    expected: Option<T>,
    found: Option<T>,
) -> Result<(), Reason> {
    match (expected, found) {
        (Some(expected), Some(found)) if expected != found => {
            Err(Reason::WrongKernel { what, expected: expected.to_string(), found: found.to_string() })
        }
        _ => Ok(()),
    }
}

fn order(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    }
}
