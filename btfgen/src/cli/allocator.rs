//! What the allocator does with memory that is no longer used, while large files come and go.

/// Makes the allocator give large pieces back to the system when they are freed. glibc would learn from the first blocks of a package, of 24 MiB, to keep pieces
/// of that size; for a vmlinux read in parts that is 60 MB more at the peak.
pub(crate) fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a valid parameter, which changes when memory is returned to the system and nothing else.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
    }
}
