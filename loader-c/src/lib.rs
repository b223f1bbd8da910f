//! The BTF of the running kernel for programs in C: [`btf_loader`] behind a small interface.
//!
//! Five lines make a program that uses libbpf work on kernels without BTF:
//!
//! ```c
//! LIBBPF_OPTS(bpf_object_open_opts, options);
//! struct btfloader_result *btf;
//! if (btfloader_find(NULL, &btf) != BTFLOADER_STATUS_OK)
//!         return fprintf(stderr, "%s\n", btfloader_message(btf)), 1;
//! options.btf_custom_path = btfloader_path(btf);
//! ```
//!
//! The header, `include/btfloader.h`, is made of this file by `ci/header`. Nothing here unwinds into C; every function takes
//! NULL for a result.

// The one place where the project leans on its callers: C gives pointers, and their rules stand at each function.
#![expect(unsafe_code, reason = "an interface for C")]
#![expect(non_camel_case_types, reason = "the names that C programs use")]

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::Duration;

use btf_loader::{Class, Embedded, Error, Identity, Loader, Place, Settings};

/// What came of a call. The numbers are the exit codes of btf-fetch.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum btfloader_status {
    /// There is BTF, or a configuration.
    Ok = 0,
    /// It could not be found out; asking again may help.
    Failed = 1,
    /// An option or an environment variable cannot be used.
    Usage = 2,
    /// Nobody asked has it.
    NotFound = 3,
    /// Something was found and must not be used: another kernel's, damaged, too large.
    Refused = 4,
}

/// Where to look and how far to go. All zero, but for `size`, means: as the environment says (`BTF_ARCHIVE_URLS` and so on).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct btfloader_options {
    /// The size of this struct, so that later versions may add to it.
    pub size: usize,
    /// Addresses of archives, separated by spaces.
    pub urls: *const c_char,
    /// Bundles and directories on disk, separated by colons.
    pub paths: *const c_char,
    /// The cache's directory.
    pub cache: *const c_char,
    /// Where the host's /etc, /sys, /proc, /boot, /lib and /usr are.
    pub root: *const c_char,
    /// A bundle built into the program, and its length in bytes.
    pub bundle: *const u8,
    /// See `bundle`.
    pub bundle_size: usize,
    /// How long one archive may take, in milliseconds.
    pub timeout_ms: u32,
    /// How long all archives may take together, in milliseconds.
    pub max_time_ms: u32,
    /// Refuse what is matched by name rather than by build-id.
    pub exact: bool,
}

/// What was found, or why nothing was. Belongs to the caller until `btfloader_free`.
pub struct btfloader_result {
    message: CString,
    bytes: Vec<u8>,
    path: Option<CString>,
    exact: bool,
}

impl btfloader_result {
    fn failed(message: &str) -> Self {
        Self { message: text(message), bytes: Vec::new(), path: None, exact: false }
    }
}

/// Finds the BTF of the running kernel.
///
/// `options` may be NULL. `*result` is always set, unless `result` is NULL: to what was found, or to why nothing was
/// (`btfloader_message`).
///
/// # Safety
/// `options` is NULL or points to a struct of `size` bytes whose strings end in NUL, and whose bundle has `bundle_size`
/// bytes; `result` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_find(
    options: *const btfloader_options,
    result: *mut *mut btfloader_result,
) -> btfloader_status {
    // SAFETY: the caller's promise about both pointers.
    unsafe { answer(options, result, find) }
}

/// Finds the configuration of the running kernel, for libbpf's `kconfig` option: `btfloader_text` has it.
///
/// # Safety
/// As for `btfloader_find`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_find_config(
    options: *const btfloader_options,
    result: *mut *mut btfloader_result,
) -> btfloader_status {
    // SAFETY: the caller's promise about both pointers.
    unsafe { answer(options, result, find_config) }
}

/// The path of a file with the raw BTF, for libbpf's `btf_custom_path`; NULL if the kernel has its own, which libbpf finds, or
/// if there is none. Valid until `btfloader_free`.
///
/// # Safety
/// `result` is NULL or was set by `btfloader_find`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_path(result: *const btfloader_result) -> *const c_char {
    // SAFETY: the caller's promise.
    let result = unsafe { result.as_ref() };
    result.and_then(|result| result.path.as_ref()).map_or(ptr::null(), |path| path.as_ptr())
}

/// The raw BTF, and in `*size` its length in bytes; NULL if there is none. Valid until `btfloader_free`.
///
/// # Safety
/// `result` is NULL or was set by `btfloader_find`, and not freed; `size` is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_btf(result: *const btfloader_result, size: *mut usize) -> *const u8 {
    // SAFETY: the caller's promise.
    let bytes = unsafe { result.as_ref() }.map_or(&[][..], |result| &result.bytes);
    // SAFETY: the caller's promise.
    if let Some(size) = unsafe { size.as_mut() } {
        *size = bytes.len();
    }
    if bytes.is_empty() { ptr::null() } else { bytes.as_ptr() }
}

/// The text that `btfloader_find_config` found, ending in NUL; NULL if there is none. Valid until `btfloader_free`.
///
/// # Safety
/// `result` is NULL or was set by `btfloader_find_config`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_text(result: *const btfloader_result) -> *const c_char {
    // SAFETY: the caller's promise.
    let result = unsafe { result.as_ref() }.filter(|result| result.bytes.last() == Some(&0));
    result.map_or(ptr::null(), |result| result.bytes.as_ptr().cast())
}

/// Whether the BTF was recognised by the kernel's build-id, or is the kernel's own: then there can be no mistake.
///
/// # Safety
/// `result` is NULL or was set by `btfloader_find`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_is_exact(result: *const btfloader_result) -> bool {
    // SAFETY: the caller's promise.
    unsafe { result.as_ref() }.is_some_and(|result| result.exact)
}

/// What was found where, or why nothing was, for people. Never NULL; valid until `btfloader_free`.
///
/// # Safety
/// `result` is NULL or was set by a function of this library, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_message(result: *const btfloader_result) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { result.as_ref() }.map_or(c"".as_ptr(), |result| result.message.as_ptr())
}

/// Frees a result; NULL is nothing to free.
///
/// # Safety
/// `result` is NULL or was set by a function of this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btfloader_free(result: *mut btfloader_result) {
    if !result.is_null() {
        // SAFETY: it came of `Box::into_raw` in `answer`, and the caller gives it back once.
        drop(unsafe { Box::from_raw(result) });
    }
}

type Answer = Result<btfloader_result, (btfloader_status, String)>;

/// Runs `work` with the caller's options and hands its answer over.
///
/// # Safety
/// As for [`btfloader_find`].
unsafe fn answer(
    options: *const btfloader_options,
    result: *mut *mut btfloader_result,
    work: fn(Settings) -> Answer,
) -> btfloader_status {
    let run = || {
        // SAFETY: the caller's promise. What is made of the options does not outlive this call.
        let settings = unsafe { settings(options) };
        settings.map_err(|message| (btfloader_status::Usage, message)).and_then(work)
    };
    let internal = || Err((btfloader_status::Failed, "an error in btfloader itself".to_owned()));
    let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| internal());
    let (status, value) = match answer {
        Ok(value) => (btfloader_status::Ok, value),
        Err((status, message)) => (status, btfloader_result::failed(&message)),
    };
    // SAFETY: the caller's promise.
    if let Some(result) = unsafe { result.as_mut() } {
        *result = Box::into_raw(Box::new(value));
    }
    status
}

fn find(settings: Settings) -> Answer {
    let loader = Loader::new(settings);
    let found = loader.get().map_err(failure)?;
    let own = matches!(found.place(), Place::Kernel { .. });
    let path = if own { None } else { Some(loader.raw_file(&found).map_err(failure)?) };
    let message = format!("{}, {} bytes, from {}", found.identity(), found.btf().len(), found.place());
    Ok(btfloader_result {
        message: text(&message),
        path: path.map(|path| CString::new(path.into_os_string().into_vec()).unwrap_or_default()),
        exact: found.identity() == Identity::Exact,
        bytes: found.into_btf(),
    })
}

fn find_config(settings: Settings) -> Answer {
    let config = Loader::new(settings).config().map_err(failure)?;
    let message = text(&format!("{} bytes, from {}", config.text.len(), config.place));
    let bytes = text(&config.text).into_bytes_with_nul();
    Ok(btfloader_result { message, bytes, path: None, exact: false })
}

fn failure(error: Error) -> (btfloader_status, String) {
    let status = match (&error, error.class()) {
        (Error::Setting { .. }, _) => btfloader_status::Usage,
        (_, Class::NotFound) => btfloader_status::NotFound,
        (_, Class::Refused) => btfloader_status::Refused,
        _ => btfloader_status::Failed,
    };
    (status, error.to_string())
}

/// Text for C; what comes after a NUL in it is cut off.
fn text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The environment's settings, as far as the options do not say otherwise.
///
/// # Safety
/// As for [`btfloader_find`]; a bundle must not be used after the caller's call.
unsafe fn settings(options: *const btfloader_options) -> Result<Settings, String> {
    let mut settings = Settings::from_env().map_err(|error| error.to_string())?;
    // SAFETY: the caller's promise.
    let Some(options) = (unsafe { options.as_ref() }) else { return Ok(settings) };
    if options.size != size_of::<btfloader_options>() {
        return Err(format!("options of {} bytes are not known to this btfloader", options.size));
    }
    // SAFETY: the caller's promise: each is NULL or ends in NUL.
    let [urls, paths, cache, root] = [options.urls, options.paths, options.cache, options.root]
        .map(|pointer| (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }));
    if let Some(urls) = urls {
        let urls = urls.to_str().map_err(|_| "the addresses are not UTF-8".to_owned())?;
        settings.urls = Settings::parse_urls(urls).map_err(|error| error.to_string())?;
    }
    let os = |text: &CStr| OsStr::from_bytes(text.to_bytes()).to_owned();
    if let Some(paths) = paths {
        settings.paths = std::env::split_paths(&os(paths)).collect();
    }
    if let Some(cache) = cache {
        settings.cache = Some(os(cache).into());
    }
    if let Some(root) = root {
        settings.root = os(root).into();
    }
    if !options.bundle.is_null() {
        // SAFETY: the caller's promise. The lifetime is longer than the truth, but the loader that gets it, and all that
        // borrows from it, is gone when this call returns: results own their bytes.
        let bundle = unsafe { std::slice::from_raw_parts(options.bundle, options.bundle_size) };
        settings.embedded = Some(Embedded(bundle));
    }
    if options.timeout_ms > 0 {
        settings.timeout = Duration::from_millis(options.timeout_ms.into());
    }
    if options.max_time_ms > 0 {
        settings.max_time = Duration::from_millis(options.max_time_ms.into());
    }
    settings.exact_only |= options.exact;
    Ok(settings)
}
