//! Addresses of files in a repository: an index names them, and none may lead out.

use url::Url;

use super::error::Error;
use crate::fetch::public_url;

/// `path` below `base`, a part of the format and not a stranger's word.
pub(super) fn join(base: &Url, path: &str) -> Result<Url, Error> {
    base.join(path)
        .map_err(|error| Error::Malformed { url: public_url(base), reason: format!("{path}: {error}") })
}

/// An address as a directory.
pub(super) fn directory(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

/// Where an index says that `package` is, which must be inside the repository.
pub(super) fn within(base: &Url, path: &str, package: &str, index: &str) -> Result<Url, Error> {
    relative(base, path).ok_or_else(|| Error::Path {
        index: index.to_owned(),
        package: package.to_owned(),
        path: path.chars().take(300).collect(),
    })
}

/// A relative path as an address below `base`; `None` where it leads out or is no path at all.
pub(super) fn relative(base: &Url, path: &str) -> Option<Url> {
    let decoded_dots = path.to_ascii_lowercase().replace("%2e", ".");
    let plain = !path.is_empty()
        && !path.starts_with('/')
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && !path.contains(['?', '#'])
        && !decoded_dots.split('/').any(|part| part == "..");
    let url = plain.then(|| base.join(path).ok())??;
    url.as_str().starts_with(base.as_str()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that paths inside are taken, those of RPM names with `+` and `^` included, and that nothing leads out.
    #[test]
    fn nothing_leads_out() {
        let base: Url = "https://mirror.example/repo/".parse().unwrap();
        for path in ["Packages/k/kernel-1.x86_64.rpm", "a+b^c~d.rpm", "./x.rpm", "a%3ab.deb"] {
            assert!(relative(&base, path).is_some(), "{path}");
        }
        for path in [
            "",
            "..",
            "../x.rpm",
            "a/../../x.rpm",
            "a/%2e%2E/%2e./../x.rpm",
            "/x.rpm",
            "//other.example/x.rpm",
            "https://other.example/x.rpm",
            "http://mirror.example/repo/x.rpm",
            "file:///etc/passwd",
            "a\\..\\x.rpm",
            "a\nb.rpm",
            "\u{1b}[2J",
            "x.rpm?token",
            "x.rpm#part",
        ] {
            assert_eq!(relative(&base, path), None, "{path:?}");
        }
    }
}
