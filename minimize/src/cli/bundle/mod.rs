//! `btf-minimize bundle`: minimised BTF of one set of objects for many kernels, in the form that whoever ships it reads.

mod directory;
mod names;
mod oci;
mod record;
mod stale;
mod tarball;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use btf_archive::bundle::{Builder, Encoding};
use btf_archive::{BuildId, Digest, Key};
use btf_minimize::{Object, Problem, minimize};
use serde::Serialize;

use super::files;
use super::kernels::{Blob, KernelArgs, KernelName, Kernels};
use super::telling::{Told, locate, plural};
use record::Record;

/// Kernels left out, and why.
type LeftOut = BTreeMap<String, String>;

/// What is left out of a bundle was named on standard error.
const INCOMPLETE: u8 = 5;

/// Minimised BTF of BPF objects for every kernel of an archive, in one file
///
/// Kernels that need the same bytes share them. The same objects and kernels give the same bytes. A file with --btf must lie as in a tree of BTFs,
/// …/ID/VERSION_ID/ARCH/RELEASE.btf, so that its kernel's name is known. Exit code 1 when a relocation could not be resolved somewhere, 5 when a kernel had to
/// be left out.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kernels: KernelArgs,
    /// Where to write the bundle
    #[arg(short, long, value_name = "PATH", required_unless_present = "check_stale")]
    output: Option<PathBuf>,
    /// For whom it is
    #[arg(long, value_name = "LAYOUT", value_enum, default_value_t)]
    layout: Layout,
    /// In a single file, compress each BTF with zstd where that makes it smaller [default: raw, to be used in place]
    #[arg(long)]
    zstd: bool,
    /// Write nothing if any kernel cannot be read, or any relocation not be resolved
    #[arg(long)]
    strict: bool,
    /// Write nothing, but say what changed since this bundle was made; exit code 1 if anything did
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["output", "layout", "zstd", "strict"])]
    check_stale: Option<PathBuf>,
    /// Print a report as JSON
    #[arg(long)]
    json: bool,
    /// BPF objects (ELF)
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<PathBuf>,
}

/// Who reads a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// Our own: one file, found in by build-id and by key, used in place; for btf-archive's `bundle` module
    #[default]
    Single,
    /// bcc's libbpf-tools: min_core_btfs.tar.gz
    Bcc,
    /// tracee: a directory to embed
    Tracee,
    /// Inspektor Gadget: btfs.tar.gz for the layer of a gadget's image
    InspektorGadget,
    /// Inspektor Gadget: a gadget's image, an OCI layout with the object and its BTFs
    InspektorGadgetOci,
    /// The Datadog agent: minimized-btfs.tar.xz
    Datadog,
    /// A directory: ID/VERSION_ID/ARCH/RELEASE.btf
    Dir,
}

impl Layout {
    fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A kernel of a bundle.
struct Entry {
    key: Key,
    build_id: Option<BuildId>,
    /// Digest of the kernel's whole BTF, where the archive tells it: to hash a file takes longer than to minimise it.
    source: Option<Digest>,
    btf: Arc<Vec<u8>>,
}

/// A relocation that cannot be resolved, and where.
#[derive(Serialize)]
struct Unresolved<'a> {
    object: &'a Path,
    #[serde(flatten)]
    told: Told,
    kernels: Vec<&'a str>,
}

/// The report of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    /// What was written; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Path>,
    /// Bytes of it, in all.
    bytes: u64,
    kernels: usize,
    /// How many different BTFs they need.
    blobs: usize,
    /// Kernels left out, and why.
    left_out: LeftOut,
    problems: Vec<Unresolved<'a>>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = files::read_objects(&args.objects)?;
    if let Some(bundle) = &args.check_stale {
        let objects = stale::Objects { paths: &args.objects, data: &data };
        return stale::run(bundle, args.kernels, &objects, args.json);
    }
    let output = args.output.as_deref().context("--output says where to write")?;
    let objects = files::open_objects(&args.objects, &data)?;
    let kernels = args.kernels.open()?;
    let mut left_out = LeftOut::new();
    let (entries, unresolved) = minimize_all(&kernels, &objects, &mut left_out)?;
    let record = Record::new(args.layout, &kernels, &args.kernels, &args.objects, &data);
    let members = names::members(args.layout, &entries, &mut left_out)?;
    let problems: Vec<_> = unresolved
        .into_iter()
        .map(|((object, relocation), (reason, on))| Unresolved {
            object: &args.objects[object],
            told: Told::new(&objects[object], &objects[object].relocations()[relocation], Some(&Err(reason))),
            kernels: on.into_iter().map(|index| kernels.names[index].name.as_str()).collect(),
        })
        .collect();

    let refused = args.strict && !(left_out.is_empty() && problems.is_empty());
    let written = !refused && !members.is_empty();
    let mut bytes = 0;
    if written {
        bytes = match args.layout {
            Layout::Single => single(output, &entries, &record, args.zstd)?,
            Layout::Dir | Layout::Tracee => {
                directory::write(output, &members, record.clone().with(&entries))?
            }
            Layout::InspektorGadgetOci => {
                let [object] = &data[..] else {
                    anyhow::bail!("a gadget's image has exactly one object; {} were given", data.len())
                };
                directory::write(output, &oci::members(object, &members)?, record.clone().with(&entries))?
            }
            layout => {
                let data = tarball::pack(layout, &members)?;
                files::write(output, &data)?;
                record.clone().with(&entries).write(output)?;
                data.len() as u64
            }
        };
    }
    kernels.tell_without_modules();
    for (kernel, reason) in &left_out {
        eprintln!("btf-minimize: {kernel}: left out: {reason}");
    }
    for problem in &problems {
        let reason = problem.told.answer.as_ref().map_or_else(String::new, ToString::to_string);
        let (first, count) = (problem.kernels[0], plural(problem.kernels.len(), "kernel"));
        eprintln!(
            "btf-minimize: {}: {reason} (on {count}, such as {first})",
            locate(problem.object, &problem.told)
        );
    }
    if !written {
        let why = if refused { "without --strict it would be" } else { "there is no kernel to put into it" };
        eprintln!("btf-minimize: {} was not written; {why}", output.display());
    }
    let different: std::collections::HashSet<_> =
        entries.iter().map(|entry| Arc::as_ptr(&entry.btf)).collect();
    let report = Report {
        output: written.then_some(output),
        bytes,
        kernels: entries.len(),
        blobs: different.len(),
        left_out,
        problems,
    };
    tell(&report, args.json, objects.len())?;
    Ok(match (report.left_out.is_empty() && written, report.problems.is_empty()) {
        (true, true) => ExitCode::SUCCESS,
        (false, true) if written => ExitCode::from(INCOMPLETE),
        _ => ExitCode::FAILURE,
    })
}

fn tell(report: &Report<'_>, json: bool, objects: usize) -> anyhow::Result<()> {
    let mut text = String::new();
    if json {
        text = serde_json::to_string_pretty(report)?;
        text.push('\n');
    } else if let Some(output) = report.output {
        let (bytes, kernels) = (plural(report.bytes as usize, "byte"), plural(report.kernels, "kernel"));
        let (blobs, objects) = (plural(report.blobs, "different BTF"), plural(objects, "object"));
        writeln!(text, "{}: {bytes}, {blobs} for {kernels} and {objects}", output.display())?;
    }
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// Relocations that cannot be resolved, by object and relocation: why on the first kernel, and on which kernels.
type Unresolveds = BTreeMap<(usize, usize), (btf_minimize::Reason, Vec<usize>)>;

/// Minimises every kernel's BTF, each blob once. What comes out in the order of keys.
fn minimize_all(
    kernels: &Kernels,
    objects: &[Object<'_>],
    left_out: &mut LeftOut,
) -> anyhow::Result<(Vec<Entry>, Unresolveds)> {
    let pool: Mutex<HashMap<Digest, Arc<Vec<u8>>>> = Mutex::default();
    let results = kernels.each(|indices, opened| {
        let minimized = opened.for_objects(objects, |kernel| Ok(minimize(kernel, objects)?))?;
        let source = kernels.names[indices[0]].blob.source();
        // Most kernels need the bytes that another one needs: ten thousand of them fit into memory.
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let btf = pool.entry(Digest::of(&minimized.btf)).or_insert_with(|| Arc::new(minimized.btf)).clone();
        Ok((source, btf, minimized.problems))
    });
    let mut entries = BTreeMap::new();
    let mut unresolved = Unresolveds::new();
    for (indices, result) in results {
        let (source, btf, problems) = match result {
            Ok(result) => result,
            Err(error) => {
                let reason = format!("{error:#}");
                left_out
                    .extend(indices.iter().map(|&index| (kernels.names[index].name.clone(), reason.clone())));
                continue;
            }
        };
        for &index in &indices {
            let kernel = &kernels.names[index];
            let key = key(kernel)?;
            let build_id = kernel.record.as_ref().and_then(|record| record.build_id);
            let entry = Entry { key: key.clone(), build_id, source, btf: btf.clone() };
            anyhow::ensure!(
                entries.insert(key.to_string(), entry).is_none(),
                "{key}: there are two such kernels"
            );
        }
        for Problem { object, relocation, reason } in problems {
            let known = unresolved.entry((object, relocation)).or_insert_with(|| (reason, Vec::new()));
            known.1.extend(&indices);
        }
    }
    for (_, on) in unresolved.values_mut() {
        on.sort_unstable();
    }
    Ok((entries.into_values().collect(), unresolved))
}

/// A kernel's key: the archive's, or what the last folders of a file's path say.
fn key(kernel: &KernelName) -> anyhow::Result<Key> {
    let path = match (kernel.key(), &kernel.blob) {
        (Some(key), _) => return Ok(key.clone()),
        (None, Blob::File(path)) => path.with_extension(""),
        (None, Blob::Archived { .. }) => PathBuf::new(),
    };
    let mut parts: Vec<_> = path.iter().rev().take(4).map(|part| part.to_string_lossy()).collect();
    parts.reverse();
    let key = parts.join("/").parse::<Key>();
    key.with_context(|| {
        format!("{}: no kernel's name; it should end in ID/VERSION_ID/ARCH/RELEASE.btf", kernel.name)
    })
}

fn single(output: &Path, entries: &[Entry], record: &Record, zstd: bool) -> anyhow::Result<u64> {
    let mut builder = Builder::new();
    for entry in entries {
        builder.add(&entry.key, entry.build_id, entry.source.as_ref(), &entry.btf);
    }
    let encoding = if zstd { Encoding::Zstd } else { Encoding::Raw };
    let data = builder.finish(&serde_json::to_string(record)?, encoding)?;
    files::write(output, &data)?;
    Ok(data.len() as u64)
}
