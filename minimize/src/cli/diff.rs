//! `btf-minimize diff`: what changed between two kernels, type by type.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use btf::Kind;
use btf::diff::{Change, Detail, Place, TypeChange, diff};
use serde::Serialize;

use super::files;
use super::header::{likely, named};

/// Say what changed between two kernels, type by type
///
/// Without TYPE every type that is not the same in both, else only those named. A struct has changed when its own definition has: what it refers to by name is that type's
/// matter. Exit code 0 when nothing changed, 1 when something did.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first kernel: raw BTF, or an ELF file with a .BTF section; of either byte order
    #[arg(value_name = "A")]
    from: PathBuf,
    /// The second kernel
    #[arg(value_name = "B")]
    to: PathBuf,
    /// Types: task_struct, 'struct task_struct', pid_t, 'enum pid_type', …
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
    /// Only what changed within types that both have: no types that came or went
    #[arg(long)]
    both: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (from, to) = (files::KernelFile::open(&args.from)?, files::KernelFile::open(&args.to)?);
    let (from, to) = (from.kernel(&args.from)?, to.kernel(&args.to)?);
    let mut wanted = Vec::new();
    for text in &args.types {
        if named(from.btf(), text)?.is_empty() && named(to.btf(), text)?.is_empty() {
            eprintln!("btf-minimize: neither kernel has a type {text:?}{}", likely(from.btf(), text)?);
            return Ok(ExitCode::from(3));
        }
        wanted.push(text.trim());
    }
    let mut changes = diff(from.btf(), to.btf())?;
    changes.retain(|change| {
        let chosen = |text: &&str| match text.split_once(' ') {
            Some((word, name)) => name.trim() == change.name && word == keyword(change.kind),
            None => **text == change.name,
        };
        let kept = !args.both || matches!(change.change, Change::Changed(_));
        kept && (wanted.is_empty() || wanted.iter().any(chosen))
    });
    let mut out = std::io::stdout().lock();
    if args.json {
        let told: Vec<Told<'_>> = changes.iter().map(Told::new).collect();
        serde_json::to_writer_pretty(&mut out, &told)?;
        writeln!(out)?;
    } else {
        let mut text = String::new();
        for change in &changes {
            tell(&mut text, change);
        }
        summary(&mut text, &changes);
        out.write_all(text.as_bytes())?;
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The word before a name.
fn keyword(kind: Kind) -> &'static str {
    match kind {
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum | Kind::Enum64 => "enum",
        Kind::Typedef => "typedef",
        Kind::Func => "function",
        Kind::Var => "variable",
        Kind::Fwd => "declaration",
        Kind::Datasec => "section",
        _ => "type",
    }
}

/// A place in bytes, and bits where it is not a whole byte.
struct At<'p>(&'p Place);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, bits) = (self.0.bit_offset / 8, self.0.bit_offset % 8);
        write!(f, "{bytes}")?;
        if self.0.bit_width != 0 {
            write!(f, " bit {bits}, {} wide", self.0.bit_width)?;
        }
        Ok(())
    }
}

fn tell(out: &mut String, change: &TypeChange) {
    let (word, name) = (keyword(change.kind), &change.name);
    let details = match &change.change {
        Change::Added => {
            let _ = writeln!(out, "+ {word} {name}");
            return;
        }
        Change::Removed => {
            let _ = writeln!(out, "- {word} {name}");
            return;
        }
        Change::Changed(details) => details,
    };
    let size = details.iter().find_map(|detail| match detail {
        Detail::Size { from, to } => Some(format!(", {from} -> {to} bytes")),
        _ => None,
    });
    let _ = writeln!(out, "~ {word} {name}{}", size.unwrap_or_default());
    let mut rest = &details[..];
    while let [first, others @ ..] = rest {
        rest = others;
        let _ = match first {
            Detail::Size { .. } => Ok(()),
            Detail::MemberAdded(place) => {
                writeln!(out, "    + {} at {}", within(place), At(place))
            }
            Detail::MemberRemoved(place) => {
                writeln!(out, "    - {} at {}", within(place), At(place))
            }
            Detail::Member { from, to } if moved(from, to).is_some() => {
                // What was put in or taken out moves all that follows: that is one thing to say, not hundreds.
                let by = moved(from, to);
                let run = others
                    .iter()
                    .take_while(|next| matches!(next, Detail::Member { from, to } if moved(from, to) == by));
                let count = run.clone().count();
                let last = run.last().unwrap_or(first);
                rest = &others[count..];
                let bits = by.unwrap_or(0);
                let by =
                    if bits % 8 == 0 { format!("{:+} bytes", bits / 8) } else { format!("{bits:+} bits") };
                match (count, last) {
                    (0, _) => {
                        writeln!(out, "    > {} moved by {by}, from {} to {}", from.path, At(from), At(to))
                    }
                    (_, Detail::Member { to: last, .. }) => writeln!(
                        out,
                        "    > {} to {} moved by {by} ({} members)",
                        from.path,
                        last.path,
                        count + 1
                    ),
                    _ => Ok(()),
                }
            }
            Detail::Member { from, to } => writeln!(out, "    - {} at {}", within(from), At(from))
                .and_then(|()| writeln!(out, "    + {} at {}", within(to), At(to))),
            Detail::EnumeratorAdded { name, value } => writeln!(out, "    + {name} = {value}"),
            Detail::EnumeratorRemoved { name, value } => writeln!(out, "    - {name} = {value}"),
            Detail::Enumerator { name, from, to } => writeln!(out, "    ~ {name} = {from} -> {to}"),
            Detail::Definition { from, to } => {
                writeln!(out, "    - {from}").and_then(|()| writeln!(out, "    + {to}"))
            }
        };
    }
}

/// How many bits a member moved, if it did nothing else.
fn moved(from: &Place, to: &Place) -> Option<i64> {
    let same = from.declaration == to.declaration && from.bit_width == to.bit_width;
    same.then(|| i64::from(to.bit_offset) - i64::from(from.bit_offset))
}

/// A member's declaration, and the unnamed struct it is in.
fn within(place: &Place) -> String {
    match place.path.rsplit_once('.') {
        Some((outer, _)) => format!("{} (in {outer})", place.declaration),
        None => place.declaration.clone(),
    }
}

fn summary(out: &mut String, changes: &[TypeChange]) {
    if changes.is_empty() {
        out.push_str("no difference\n");
        return;
    }
    let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|one| wanted(&one.change)).count();
    let _ = writeln!(
        out,
        "{} changed, {} added, {} removed",
        count(|change| matches!(change, Change::Changed(_))),
        count(|change| matches!(change, Change::Added)),
        count(|change| matches!(change, Change::Removed)),
    );
}

/// A change, as JSON has it. Offsets are in bits, sizes in bytes.
#[derive(Serialize)]
struct Told<'c> {
    kind: &'static str,
    name: &'c str,
    change: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<ToldDetail<'c>>,
}

#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum ToldDetail<'c> {
    Size { from: u32, to: u32 },
    MemberAdded { to: ToldPlace<'c> },
    MemberRemoved { from: ToldPlace<'c> },
    Member { from: ToldPlace<'c>, to: ToldPlace<'c> },
    EnumeratorAdded { name: &'c str, to: i64 },
    EnumeratorRemoved { name: &'c str, from: i64 },
    Enumerator { name: &'c str, from: i64, to: i64 },
    Definition { from: &'c str, to: &'c str },
}

#[derive(Serialize)]
struct ToldPlace<'c> {
    path: &'c str,
    declaration: &'c str,
    bit_offset: u32,
    #[serde(skip_serializing_if = "is_zero")]
    bit_width: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(width: &u8) -> bool {
    *width == 0
}

impl<'c> Told<'c> {
    fn new(change: &'c TypeChange) -> Self {
        let (word, details) = match &change.change {
            Change::Added => ("added", &[][..]),
            Change::Removed => ("removed", &[][..]),
            Change::Changed(details) => ("changed", &details[..]),
        };
        let details = details.iter().map(ToldDetail::new).collect();
        Told { kind: keyword(change.kind), name: &change.name, change: word, details }
    }
}

impl<'c> ToldDetail<'c> {
    fn new(detail: &'c Detail) -> Self {
        match detail {
            Detail::Size { from, to } => Self::Size { from: *from, to: *to },
            Detail::MemberAdded(to) => Self::MemberAdded { to: ToldPlace::new(to) },
            Detail::MemberRemoved(from) => Self::MemberRemoved { from: ToldPlace::new(from) },
            Detail::Member { from, to } => {
                Self::Member { from: ToldPlace::new(from), to: ToldPlace::new(to) }
            }
            Detail::EnumeratorAdded { name, value } => Self::EnumeratorAdded { name, to: *value },
            Detail::EnumeratorRemoved { name, value } => Self::EnumeratorRemoved { name, from: *value },
            Detail::Enumerator { name, from, to } => Self::Enumerator { name, from: *from, to: *to },
            Detail::Definition { from, to } => Self::Definition { from, to },
        }
    }
}

impl<'c> ToldPlace<'c> {
    fn new(place: &'c Place) -> Self {
        let Place { path, declaration, bit_offset, bit_width } = place;
        Self { path, declaration, bit_offset: *bit_offset, bit_width: *bit_width }
    }
}
