//! What a debuginfod server has of a kernel: its `.BTF` section, and vmlinux with debug information, each a file of its own.

use std::io::Read as _;

use btf::Btf;
use btf_archive::{BuildId, Source, Trust};

use super::reach::{Spent, Stream};
use super::ways::{Work, made_of};
use super::{Error, Explanation, Fetched, Modules, Package, Way};
use crate::package::{ChunkStore, Error as PackageError, Identity};
use crate::vmlinux::{self, Extracted};

/// The largest `.BTF` section accepted, in bytes; real ones have 3 to 8 million.
const SECTION_LIMIT: u64 = 256 << 20;
/// The largest vmlinux accepted, in bytes.
const VMLINUX_LIMIT: u64 = 4 << 30;

impl Work<'_> {
    /// The section alone. `None`: the server does not have it.
    pub(super) fn section(&mut self, package: &Package) -> Result<Option<Fetched>, Error> {
        self.go(Way::Section, package, |work, spent| {
            let Some(stream) = work.open_if_there(package, spent)? else {
                return Ok((None, "the server does not have it".to_owned()));
            };
            let mut btf = Vec::new();
            let read = stream.take(SECTION_LIMIT + 1).read_to_end(&mut btf);
            read.map_err(|source| PackageError::Input { offset: btf.len() as u64, source })?;
            let path = "the section .BTF".to_owned();
            if btf.len() as u64 > SECTION_LIMIT {
                let what = format!("it has more than {} MiB", SECTION_LIMIT >> 20);
                return Err(PackageError::limit(path, SECTION_LIMIT, what).into());
            }
            let parsed = Btf::parse(&btf).and_then(|parsed| {
                btf::validate(&parsed, &btf::ValidateOptions::default())?;
                Ok(parsed)
            });
            let parsed = parsed.map_err(|error| {
                let source = vmlinux::ExtractError::Invalid { source_is_embedded: true, error };
                Error::Extract { path: path.clone(), source: Box::new(source) }
            })?;
            if !vmlinux::is_plausible_kernel(&parsed) {
                return Err(Error::Implausible { path });
            }
            let types = parsed.type_count() as usize - 1;
            let report = vmlinux::Report { types, ..Default::default() };
            let build_id = package.version.parse::<BuildId>().ok();
            let extracted = Extracted { btf, source: Source::Embedded, build_id, report };
            Ok((Some(work.served(package, extracted, path)), "the kernel's own BTF".to_owned()))
        })
    }

    /// vmlinux. `None`: the server does not have it.
    pub(super) fn vmlinux(&mut self, package: &Package) -> Result<Option<Fetched>, Error> {
        self.go(Way::Vmlinux, package, |work, spent| {
            let Some(stream) = work.open_if_there(package, spent)? else {
                return Ok((None, "the server does not have it".to_owned()));
            };
            let file = ChunkStore::read(stream, VMLINUX_LIMIT, work.options.memory)?;
            let extracted = work.extract(&file, "vmlinux")?;
            // The server was asked for exactly this file.
            let asked = package.version.parse::<BuildId>().ok();
            if let (Some(asked), Some(found)) = (asked, extracted.build_id)
                && asked != found
            {
                return Err(Error::differs(package, format!("its build-id is {found}, not {asked}")));
            }
            let reason = format!("vmlinux: {}", made_of(&extracted));
            let build_id = extracted.build_id.or(asked);
            Ok((
                Some(work.served(package, Extracted { build_id, ..extracted }, "vmlinux".to_owned())),
                reason,
            ))
        })
    }

    fn open_if_there(&self, package: &Package, spent: &Spent) -> Result<Option<Stream>, Error> {
        match Stream::open(self.client, package, None, spent) {
            Err(Error::Fetch(error)) if error.is_not_found() => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn served(&self, package: &Package, extracted: Extracted, path: String) -> Fetched {
        let Extracted { btf, source, build_id, report } = extracted;
        let identity = Identity {
            package: package.name.clone(),
            version: package.version.clone(),
            architecture: String::new(),
            synopsis: String::new(),
            depends: String::new(),
        };
        // Nothing signs what such a server says, however much of it is read.
        let trust = package.trust.min(Trust::Transport);
        Fetched {
            btf,
            source,
            build_id,
            release: self.release.unwrap_or_default().to_owned(),
            report,
            identity,
            url: package.url.clone(),
            path,
            trust,
            sha256: None,
            modules: Modules::default(),
            config: None,
            explanation: Explanation::default(),
        }
    }
}
