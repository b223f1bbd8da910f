//! From what a boot loader starts to the BTF inside: `vmlinuz` in all its dresses.
//!
//! A kernel built with `CONFIG_DEBUG_INFO_BTF` carries its BTF in memory, and so in every file that it is booted from. That file is
//! small and comes first in its package, so it is by far the cheapest place to take BTF from. The dresses:
//!
//! - x86's `bzImage` says where its payload is (boot protocol 2.08, Documentation/arch/x86/boot.rst): a compressed ELF file;
//! - an EFI `zboot` image (arm64, riscv64, loongarch) says so too (drivers/firmware/efi/libstub/zboot-header.S): a raw `Image`;
//! - ppc64's is an ELF file as it is; any of them may be compressed whole;
//! - arm64's and riscv64's raw `Image`, and what was not found so far, is searched for BTF that is whole, valid and a kernel's (`scan`);
//! - s390x and 32-bit arm have a small loader before a payload that nothing points to: it is searched for by its magic number.
//!
//! A layer is unwrapped at most `DEPTH` times, into memory, with a limit.

mod notes;
mod scan;
mod unwrap;

use btf::Btf;
use btf_archive::BuildId;

use crate::elf::Image;
use crate::package::codec::Codec;
use crate::vmlinux::is_plausible_kernel;

/// Compressed layers inside each other. Real images have at most two.
const DEPTH: usize = 4;
/// The limit on BTF, in bytes. The largest kernels' is a tenth of it.
const MAX_BTF: u64 = 64 << 20;

/// BTF found in a bootable kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Raw BTF, byte for byte, validated.
    pub btf: Vec<u8>,
    /// The kernel's build-id, where it can be told.
    pub build_id: Option<BuildId>,
    /// The way to it, from the outside in: `bzImage, xz, ELF section .BTF`.
    pub way: String,
}

/// Why a bootable kernel gave no BTF.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// Everything could be looked at, and there is no BTF in it.
    #[error("it has no BTF inside ({way}); take the kernel's debug package")]
    NoBtf {
        /// What was looked at.
        way: String,
    },
    /// A layer is compressed in a way that is not read.
    #[error(
        "its payload at byte {offset} is compressed with {codec}, which is not supported; take the kernel's debug package"
    )]
    Compression {
        /// Offset in the layer, in bytes.
        offset: u64,
        /// The compression's name.
        codec: &'static str,
    },
    /// A layer is damaged.
    #[error("{what} at byte {offset} of {within}: {reason}")]
    Damaged {
        /// What is damaged.
        what: &'static str,
        /// In which layer.
        within: String,
        /// Offset in the layer, in bytes.
        offset: u64,
        /// How.
        reason: String,
    },
    /// Several different BTF blobs that could each be the kernel's.
    #[error(
        "it has {0} different BTF blobs inside, each of which could be the kernel's; take the kernel's debug package"
    )]
    Ambiguous(usize),
}

impl ImageError {
    /// Whether the image is good and simply has no BTF.
    pub fn is_without_btf(&self) -> bool {
        matches!(self, Self::NoBtf { .. })
    }
}

/// Finds the BTF inside a bootable kernel.
///
/// # Errors
/// Where there is none, or more than one, or a layer cannot be read. What is found is whole, valid and has a `task_struct`.
pub fn find(image: &[u8]) -> Result<Embedded, ImageError> {
    within(image, &mut Vec::new(), DEPTH)
}

/// [`find`] in a layer. `way` has the names of those around it.
fn within(layer: &[u8], way: &mut Vec<&'static str>, depth: usize) -> Result<Embedded, ImageError> {
    if layer.starts_with(b"\x7fELF") {
        way.push("ELF");
        if let Some(found) = in_elf(layer, way)? {
            return Ok(found);
        }
        return in_raw(layer, way);
    }
    let payload = unwrap::payload(layer).map_err(|error| error.within(way))?;
    let Some(payload) = payload.filter(|_| depth > 0) else {
        way.push("raw");
        return match in_raw(layer, way) {
            Err(ImageError::NoBtf { .. }) if depth > 0 => search(layer, way, depth),
            result => result,
        };
    };
    way.extend(payload.header);
    if payload.codec == Codec::Lzo {
        return Err(ImageError::Compression { offset: payload.offset as u64, codec: payload.codec.name() });
    }
    if payload.codec == Codec::Plain {
        let (start, end) = (payload.offset, payload.offset + payload.len);
        return within(&layer[start..end], way, depth - 1);
    }
    let unpacked = payload.unpack(layer).map_err(|error| error.within(way))?;
    way.push(payload.codec.name());
    within(&unpacked, way, depth - 1)
}

/// Looks for payloads by their magic numbers, where nothing says where they are, and takes the first that holds BTF.
fn search(layer: &[u8], way: &mut Vec<&'static str>, depth: usize) -> Result<Embedded, ImageError> {
    let mut budget = unwrap::Budget::default();
    let mut unsupported = None;
    for payload in unwrap::candidates(layer) {
        if payload.codec == Codec::Lzo {
            unsupported.get_or_insert(ImageError::Compression {
                offset: payload.offset as u64,
                codec: payload.codec.name(),
            });
            continue;
        }
        // Chance makes magic numbers too: what does not unpack is none.
        let Some(unpacked) = budget.try_unpack(&payload, layer) else { continue };
        let mut inner = way.clone();
        inner.push(payload.codec.name());
        match within(&unpacked, &mut inner, depth.min(2) - 1) {
            Ok(found) => return Ok(found),
            Err(error @ ImageError::Ambiguous(_)) => return Err(error),
            Err(_) => *way = inner,
        }
    }
    Err(unsupported.unwrap_or_else(|| no_btf(way)))
}

/// The section `.BTF` of an ELF file, and its build-id.
fn in_elf(file: &[u8], way: &mut Vec<&'static str>) -> Result<Option<Embedded>, ImageError> {
    let damaged = |way: &[&str], offset, reason: String| ImageError::Damaged {
        what: "the section .BTF",
        within: way.join(", "),
        offset,
        reason,
    };
    let Ok(image) = Image::parse(&file) else { return Ok(None) };
    let Some(section) = image.section_named(".BTF") else { return Ok(None) };
    let btf = image.data_of(section, MAX_BTF).map_err(|error| damaged(way, 0, error.to_string()))?;
    let mut options = btf::ValidateOptions::default();
    options.pointer_size = Some(image.class.address_size().into());
    let parsed = Btf::parse(&btf).and_then(|view| btf::validate(&view, &options).map(|()| view));
    match parsed {
        Ok(view) if is_plausible_kernel(&view) => {}
        Ok(_) => {
            let reason = "it has no struct task_struct: it is not a kernel's".into();
            return Err(damaged(way, section.offset, reason));
        }
        Err(error) => return Err(damaged(way, section.offset, error.to_string())),
    }
    let build_id = image.build_id();
    way.push("section .BTF");
    Ok(Some(Embedded { btf: btf.into_owned(), build_id, way: way.join(", ") }))
}

/// BTF among other bytes.
fn in_raw(layer: &[u8], way: &mut Vec<&'static str>) -> Result<Embedded, ImageError> {
    let found = scan::find(layer);
    match found.as_slice() {
        [] => Err(no_btf(way)),
        [btf] => {
            way.push("scan");
            Ok(Embedded { btf: btf.to_vec(), build_id: notes::build_id(layer), way: way.join(", ") })
        }
        several => Err(ImageError::Ambiguous(several.len())),
    }
}

fn no_btf(way: &[&str]) -> ImageError {
    ImageError::NoBtf { way: way.join(", ") }
}
