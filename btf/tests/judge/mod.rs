//! The running kernel as the judge of BTF: `bpf(BPF_BTF_LOAD)`. It needs root, and takes only the machine's own byte order and pointer size.

use std::ffi::c_long;

const BPF_BTF_LOAD: c_long = 18;

/// The start of `union bpf_attr` for BPF_BTF_LOAD, as long as every kernel that knows the command accepts.
#[repr(C)]
struct LoadAttr {
    btf: u64,
    log: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
    log_true_size: u32,
}

/// Whether the running kernel accepts this blob.
#[allow(dead_code)] // not by every test
pub(crate) fn kernel_accepts(blob: &[u8]) -> bool {
    load(blob, &mut []).is_ok()
}

/// What the running kernel says to this blob: `Ok`, or the error number and the end of its log.
pub(crate) fn kernel_says(blob: &[u8]) -> Result<(), String> {
    let Err(errno) = load(blob, &mut []) else { return Ok(()) };
    let mut log = vec![0; 1 << 20];
    let _ = load(blob, &mut log);
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[end.saturating_sub(300)..end]).into_owned();
    Err(format!("error {errno}: …{text}"))
}

fn load(blob: &[u8], log: &mut [u8]) -> Result<(), i32> {
    let mut attr = LoadAttr {
        btf: blob.as_ptr().addr() as u64,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr().addr() as u64 },
        btf_size: blob.len() as u32,
        log_size: log.len() as u32,
        log_level: u32::from(!log.is_empty()),
        log_true_size: 0,
    };
    // SAFETY: the kernel reads `blob`, writes `log` and `attr.log_true_size` within the lengths given, and both outlive the call.
    #[allow(unsafe_code)]
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_BTF_LOAD, &raw mut attr, size_of::<LoadAttr>()) };
    if fd >= 0 {
        // SAFETY: the descriptor is ours and used nowhere else.
        #[allow(unsafe_code)]
        unsafe {
            libc::close(fd as i32);
        }
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(errno @ (libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOMEM)) => {
            panic!(
                "the kernel cannot judge BTF here (error {errno}: {error}): this test needs root and the bpf() system call"
            )
        }
        errno => Err(errno.unwrap_or(0)),
    }
}
