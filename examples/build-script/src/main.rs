//! Finds the BTF for the running kernel among those built in; a loader would be given its bytes (`Btf::parse` of aya, `btf_custom_path` of libbpf).

mod choose;

use std::fs;

use btf_archive::bundle::Bundle;

static BTFS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/program.bundle"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bundle = Bundle::open(BTFS)?;
    let notes = fs::read("/sys/kernel/notes").unwrap_or_default();
    let os_release = fs::read_to_string("/etc/os-release")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    match choose::choose(&bundle, &notes, &os_release, std::env::consts::ARCH, release.trim()) {
        Some(kernel) => println!("{}: {} bytes of BTF", kernel.key(), kernel.btf()?.len()),
        None => println!("none of {} kernels is this one", bundle.kernels().len()),
    }
    Ok(())
}
