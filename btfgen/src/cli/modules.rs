//! Converting modules, one or thousands, and saying what became of each: for `btfgen module` and `btfgen vmlinux --modules`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use btf::BaseIndex;
use btfgen::elf::Contents;
use btfgen::module::{self, On};
use btfgen::vmlinux::{Extracted, From};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::output;

/// A module that was asked for, and what became of it.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) result: anyhow::Result<Extracted>,
    /// Where it was written.
    pub(crate) output: Option<PathBuf>,
    pub(crate) elapsed: Duration,
}

/// The files given, and the modules in the folders given.
pub(crate) fn expand(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            files.push(input.clone());
            continue;
        }
        let found = module::find(input).map_err(|(folder, error)| {
            anyhow::Error::new(error).context(format!("{}: cannot be read", folder.display()))
        })?;
        if found.is_empty() {
            bail!(
                "{}: there are no modules in it (files named *.ko, *.ko.debug or *.ko.xz, .zst, .gz)",
                input.display()
            );
        }
        files.extend(found);
    }
    Ok(files)
}

/// What to convert, and on top of what.
pub(crate) struct Conversion<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) index: &'a BaseIndex<'a>,
    pub(crate) from: From,
    pub(crate) on: On,
    pub(crate) threads: usize,
}

impl Conversion<'_> {
    /// Converts all modules, and calls `write` with each while the others are still being converted; it tells where it wrote it.
    pub(crate) fn run(
        &self,
        mut write: impl FnMut(&str, &Extracted) -> anyhow::Result<Option<PathBuf>>,
    ) -> Vec<Module> {
        keep_freed_memory();
        let names: Vec<String> = self.files.iter().map(|file| name_of(file)).collect();
        let mut first = HashMap::new();
        for (at, name) in names.iter().enumerate() {
            first.entry(name).or_insert(at);
        }
        let bar = progress(self.files.len());
        // One module is spread over the threads, or the threads over the modules.
        let threads = if self.files.len() == 1 { self.threads } else { 1 };
        let convert = |at: usize| {
            let start = Instant::now();
            let result = match first[&names[at]] {
                first if first == at => self.extract(&self.files[at], threads),
                first => {
                    let other = self.files[first].display();
                    Err(anyhow::anyhow!("{other} is the same module; give only one of them"))
                }
            };
            (result, start.elapsed())
        };
        let finish = |at: usize, (result, elapsed): (anyhow::Result<Extracted>, Duration)| {
            let (name, path) = (names[at].clone(), self.files[at].clone());
            let written = result.and_then(|extracted| Ok((write(&name, &extracted)?, extracted)));
            let (output, result) = match written {
                Ok((output, extracted)) => (output, Ok(extracted)),
                Err(error) => (None, Err(error)),
            };
            bar.inc(1);
            Module { name, path, result, output, elapsed }
        };
        let modules = module::each(self.files, self.threads, convert, finish);
        bar.finish_and_clear();
        modules
    }

    fn extract(&self, path: &Path, threads: usize) -> anyhow::Result<Extracted> {
        let file = Contents::open(path)?;
        Ok(module::extract(&file, self.index, self.from, self.on, threads)?)
    }
}

/// Makes the allocator keep what one module needed for the next, instead of giving it back to the system and having it cleared again. Over the
/// modules of a Debian kernel that saves an eighth of the time.
fn keep_freed_memory() {
    /// More than the largest section of a module.
    const LARGE: libc::c_int = 1 << 30;
    #[cfg(target_env = "gnu")]
    // SAFETY: both are valid parameters, which change when memory is returned to the system and nothing else.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// What the kernel calls the module in a file; of a file that is not named like one, its name.
fn name_of(file: &Path) -> String {
    module::name_of(file)
        .unwrap_or_else(|| file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
}

/// Prints what failed and what is missing on stderr. Returns the exit code: 0 if nothing did, 1 if nothing was made, else 5.
pub(crate) fn tell_losses(modules: &[Module]) -> ExitCode {
    let mut complete = true;
    let mut made = 0;
    for module in modules {
        let input = module.path.display().to_string();
        match &module.result {
            Ok(extracted) => {
                made += 1;
                complete &= output::tell_losses(&input, extracted);
            }
            Err(error) => {
                complete = false;
                eprintln!("btfgen: {input}: {}", super::message(error));
            }
        }
    }
    let failed = modules.len() - made;
    if failed > 0 && modules.len() > 1 {
        eprintln!("btfgen: {failed} of {} modules failed", modules.len());
    }
    match (complete, made) {
        (true, _) => ExitCode::SUCCESS,
        (false, 0) => ExitCode::FAILURE,
        (false, _) => ExitCode::from(output::INCOMPLETE),
    }
}

/// What became of each module, as JSON.
pub(crate) fn json(modules: &[Module]) -> Value {
    let one = |module: &Module| {
        let mut value = json!({
            "module": module.name,
            "input": module.path.display().to_string(),
            "output": module.output,
            "seconds": module.elapsed.as_secs_f64(),
        });
        let members = match &module.result {
            Ok(extracted) => output::details(extracted),
            Err(error) => json!({ "error": super::message(error) }),
        };
        output::add_members(&mut value, members);
        value
    };
    modules.iter().map(one).collect()
}

/// Prints a line for people: of one module, or the sum of many.
pub(crate) fn tell(modules: &[Module], output: &Path, elapsed: Duration) {
    let made: Vec<&Extracted> = modules.iter().filter_map(|module| module.result.as_ref().ok()).collect();
    let types: usize = made.iter().map(|module| module.report.types).sum();
    let bytes: usize = made.iter().map(|module| module.btf.len()).sum();
    println!(
        "{}: {} of {} modules, {types} types, {bytes} bytes, {:.2} s",
        output.display(),
        made.len(),
        modules.len(),
        elapsed.as_secs_f64(),
    );
}

/// A bar on stderr while modules are converted; invisible where stderr is not a terminal.
fn progress(modules: usize) -> ProgressBar {
    let bar = ProgressBar::new(modules as u64);
    let template = "{bar:30} {pos} of {len} modules, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
