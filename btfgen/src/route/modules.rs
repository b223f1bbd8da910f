//! Modules out of a package that streams by, converted by several threads.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError, mpsc};

use btf::BaseIndex;

use super::Modules;
use crate::elf::Contents;
use crate::module::{self, ModuleError, On};
use crate::package::{Error as PackageError, FoundModule, Search};
use crate::vmlinux::From;

/// Converts every module that comes, and adds to `made` those that it lacks. Returns how many came.
pub(super) fn convert<R: Read>(
    search: &mut Search<R>,
    base: &BaseIndex<'_>,
    from: From,
    threads: usize,
    made: &mut Modules,
) -> Result<usize, PackageError> {
    // Each waiting module is in memory, with all its debug information.
    let (send, receive) = mpsc::sync_channel::<FoundModule>(1);
    let (receive, results) = (Mutex::new(receive), Mutex::new(BTreeMap::new()));
    let lock = |results: &Mutex<BTreeMap<_, _>>, name: String, value| {
        results.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(value);
    };
    let mut count = 0;
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(FoundModule { name, path, bytes }) = next else { break };
                    lock(&results, name, (path, one(bytes, base, from)));
                }
            });
        }
        let send = send;
        while let Some(found) = search.next_module()? {
            if made.btf.contains_key(&found.name) {
                continue;
            }
            count += 1;
            // Fails only where all threads panicked, which the scope reports.
            if send.send(found).is_err() {
                break;
            }
        }
        Ok::<(), PackageError>(())
    })?;
    for (name, (path, result)) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            Ok(btf) => {
                made.failed.remove(&name);
                made.btf.insert(name, btf);
            }
            Err(Trouble::Nothing) => {
                let reason = format!("{path}: it has neither BTF nor debug information");
                made.failed.entry(name).or_insert(reason);
            }
            Err(Trouble::Failed(reason)) => {
                made.failed.insert(name, format!("{path}: {reason}"));
            }
        }
    }
    Ok(count)
}

enum Trouble {
    /// There is nothing in the module to make BTF of.
    Nothing,
    Failed(String),
}

fn one(bytes: Vec<u8>, base: &BaseIndex<'_>, from: From) -> Result<Vec<u8>, Trouble> {
    let file = Contents::of(bytes).map_err(|error| Trouble::Failed(error.to_string()))?;
    match module::extract(&file, base, from, On::Base, 1) {
        Ok(made) if made.report.lost.is_empty() => Ok(made.btf),
        Ok(made) => {
            Err(Trouble::Failed(format!("{} units of its DWARF could not be read", made.report.lost.len())))
        }
        Err(ModuleError::Nothing | ModuleError::NoEmbedded) => Err(Trouble::Nothing),
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}
