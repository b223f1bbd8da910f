//! `btf-minimize header`: a kernel's types as C.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use btf::c::{HeaderOptions, header};
use btf::{Btf, Kind, TypeId};

use super::files;

/// Print a kernel's types as a C header (vmlinux.h)
///
/// Every struct and union has the size, and every member the offset, that the BTF says: packing, holes and bitfields included. Without TYPE all types, and
/// the kernel functions that BPF programs may call; with TYPE only those and what they need, pointed-to structs as declarations.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel: raw BTF, or an ELF file with a .BTF section; of either byte order
    #[arg(long, value_name = "FILE")]
    btf: PathBuf,
    /// Where to write the header [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Types: task_struct, 'struct task_struct', pid_t, 'enum pid_type', …
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = files::KernelFile::open(&args.btf)?;
    let kernel = file.kernel(&args.btf)?;
    let btf = kernel.btf();
    let mut types = Vec::new();
    for name in &args.types {
        let found = named(btf, name)?;
        if found.is_empty() {
            let likely = likely(btf, name)?;
            eprintln!("btf-minimize: {}: there is no type {name:?}{likely}", args.btf.display());
            return Ok(ExitCode::from(3));
        }
        types.extend(found);
    }
    let about = format!("types of {}", args.btf.file_name().unwrap_or_default().to_string_lossy());
    let options = HeaderOptions { types: (!types.is_empty()).then_some(&types), about: &about };
    let text = header(btf, &options)?;
    match &args.output {
        Some(path) => files::write(path, text.as_bytes())?,
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The types of a name as people write it, with or without the word before a tag. All of one name: a kernel may have several.
pub(crate) fn named(btf: &Btf<'_>, text: &str) -> Result<Vec<TypeId>, btf::Error> {
    let (word, name) = match text.trim().split_once(' ') {
        Some((word @ ("struct" | "union" | "enum" | "typedef"), name)) => (word, name.trim()),
        _ => ("", text.trim()),
    };
    let mut found = Vec::new();
    for id in (1..btf.type_count()).map(TypeId) {
        let ty = btf.ty(id)?;
        let fits = match ty.kind() {
            Kind::Struct => matches!(word, "" | "struct"),
            Kind::Union => matches!(word, "" | "union"),
            Kind::Enum | Kind::Enum64 => matches!(word, "" | "enum"),
            Kind::Typedef => matches!(word, "" | "typedef"),
            _ => false,
        };
        if fits && !name.is_empty() && btf.name(&ty)? == name {
            found.push(id);
        }
    }
    Ok(found)
}

/// Names that a missing one may have been meant for, as the end of a sentence.
pub(crate) fn likely(btf: &Btf<'_>, text: &str) -> Result<String, btf::Error> {
    let name = text.rsplit(' ').next().unwrap_or(text).to_ascii_lowercase();
    let mut near = Vec::new();
    for ty in btf.types() {
        let ty = ty?;
        if ty.kind().is_composite() || ty.kind().is_any_enum() || ty.kind() == Kind::Typedef {
            let known = btf.name(&ty)?.to_string();
            if !name.is_empty() && known.to_ascii_lowercase().contains(&name) {
                near.push(known);
            }
        }
    }
    near.sort_by_key(|known| (known.len(), known.clone()));
    near.dedup();
    near.truncate(3);
    Ok(if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) })
}
