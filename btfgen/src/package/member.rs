//! A file of a package, as its archive announces it.

/// What a member is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file, whose data follows.
    File,
    /// A file in GNU's sparse format: its data is not the file's bytes.
    Sparse,
    /// A directory, a link, a device: no data.
    Other,
}

/// One member; its data comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Path without `./` and `/` at the beginning, and without `/` at the end. Never has a `..` component.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Length of the data in bytes.
    pub(crate) size: u64,
    /// Offset of the member's own header in the unpacked archive.
    pub(crate) offset: u64,
}

/// A path without what says nothing; one that leaves the package is refused.
pub(super) fn clean_path(path: &[u8]) -> Result<Vec<u8>, String> {
    let mut clean = Vec::with_capacity(path.len());
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let path = String::from_utf8_lossy(path).escape_debug().collect::<String>();
                return Err(format!("the path {path} leaves the package with `..`"));
            }
            component if component.contains(&0) => return Err("a path has a NUL byte".into()),
            component => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(component);
            }
        }
    }
    Ok(clean)
}
