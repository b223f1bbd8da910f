//! A recent libbpf as the judge of BTF.
#![allow(unsafe_code)] // a C library

use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use libbpf_sys as sys;

/// libbpf's `struct btf`, on a base that lives as long.
pub(crate) struct Libbpf<'base> {
    btf: NonNull<sys::btf>,
    base: PhantomData<&'base sys::btf>,
}

impl Drop for Libbpf<'_> {
    fn drop(&mut self) {
        // SAFETY: the object is ours, and nothing made from it outlives it.
        unsafe { sys::btf__free(self.btf.as_ptr()) }
    }
}

impl<'base> Libbpf<'base> {
    fn from(btf: *mut sys::btf, what: &str) -> Libbpf<'base> {
        let btf = NonNull::new(btf)
            .unwrap_or_else(|| panic!("libbpf: {what}: {}", std::io::Error::last_os_error()));
        Libbpf { btf, base: PhantomData }
    }

    /// Self-contained BTF.
    pub(crate) fn new(data: &[u8]) -> Libbpf<'static> {
        // SAFETY: libbpf copies the bytes.
        Libbpf::from(unsafe { sys::btf__new(data.as_ptr().cast(), data.len() as u32) }, "reading BTF")
    }

    /// Split BTF.
    #[allow(dead_code)] // not by every test
    pub(crate) fn split(data: &[u8], base: &'base Libbpf<'_>) -> Libbpf<'base> {
        // SAFETY: libbpf copies the bytes and keeps the base, which is borrowed for as long.
        let btf = unsafe { sys::btf__new_split(data.as_ptr().cast(), data.len() as u32, base.btf.as_ptr()) };
        Libbpf::from(btf, "reading split BTF")
    }

    /// The BTF in a file, raw or ELF; with a section `.BTF.base` it is put onto the base given.
    #[allow(dead_code)] // not by every test
    pub(crate) fn parse(path: &std::path::Path, base: &'base Libbpf<'_>) -> Libbpf<'base> {
        use std::os::unix::ffi::OsStrExt as _;
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: libbpf reads the file to its end and keeps the base, which is borrowed for as long.
        Libbpf::from(unsafe { sys::btf__parse_split(name.as_ptr(), base.btf.as_ptr()) }, "reading a file")
    }

    /// The blob.
    #[allow(dead_code)] // not by every test
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut len = 0;
        // SAFETY: the bytes stay as they are until the object is changed, and are copied before that.
        unsafe {
            let data = sys::btf__raw_data(self.btf.as_ptr(), &raw mut len);
            assert!(!data.is_null(), "libbpf: writing BTF: {}", std::io::Error::last_os_error());
            std::slice::from_raw_parts(data.cast::<u8>(), len as usize).to_vec()
        }
    }

    /// Deduplicates, against the base if there is one.
    #[allow(dead_code)] // not by every test
    pub(crate) fn dedup(&mut self) {
        // SAFETY: no options.
        let error = unsafe { sys::btf__dedup(self.btf.as_ptr(), null_mut()) };
        assert_eq!(error, 0, "libbpf: deduplicating");
    }

    /// The distilled base and the split BTF on it.
    #[allow(dead_code)] // not by every test
    pub(crate) fn distill(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut base, mut split) = (null_mut(), null_mut());
        // SAFETY: both objects are ours on success, and the split one, which refers to the other, is freed first.
        let error = unsafe { sys::btf__distill_base(self.btf.as_ptr(), &raw mut base, &raw mut split) };
        assert_eq!(error, 0, "libbpf: distilling the base");
        let base = Libbpf::from(base, "distilled base");
        let split = Libbpf::from(split, "split BTF on a distilled base");
        (base.bytes(), split.bytes())
    }

    /// Puts split BTF on a distilled base onto another base.
    ///
    /// # Errors
    /// libbpf's error number.
    #[allow(dead_code)] // not by every test
    pub(crate) fn relocate(&mut self, base: &'base Libbpf<'_>) -> Result<(), i32> {
        // SAFETY: the new base is borrowed for as long as this object lives.
        match unsafe { sys::btf__relocate(self.btf.as_ptr(), base.btf.as_ptr()) } {
            0 => Ok(()),
            error => Err(error),
        }
    }
}
