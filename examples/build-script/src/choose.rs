//! Which of a bundle's BTFs is this machine's.

use btf_archive::bundle::{Bundle, Kernel};
use btf_archive::{BuildId, OsRelease};

/// The BTF of a kernel: by its build-id (from `/sys/kernel/notes`), else by what os-release, `uname -m` and `uname -r` say.
pub(crate) fn choose<'a>(
    bundle: &Bundle<'a>,
    notes: &[u8],
    os_release: &str,
    machine: &str,
    release: &str,
) -> Option<Kernel<'a>> {
    let build_id = BuildId::from_notes(notes).ok().flatten();
    build_id.and_then(|build_id| bundle.by_build_id(&build_id)).or_else(|| {
        OsRelease::parse(os_release).keys(machine, release).iter().find_map(|key| bundle.by_key(key))
    })
}
