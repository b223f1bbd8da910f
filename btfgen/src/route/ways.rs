//! The ways themselves: each tries one package, and says what came of it.

use std::io::Read;

use btf::{BaseIndex, Btf};
use btf_archive::Source;
use url::Url;

use super::reach::{InParts, Spent, Stream, check_end, check_identity};
use super::{
    Error, Explanation, Failed, Fetched, Modules, OfferedKernel, Options, Package, Role, Step, Verify, Way,
    modules,
};
use crate::elf::{Image, ReadAt};
use crate::fetch::{Client, public_url};
use crate::package::sparse::{Sparse, SparseFile};
use crate::package::{self, ChunkStore, Error as PackageError, Found, Part, Places, Search};
use crate::repo::offer;
use crate::vmlinux::{self, Extracted, From};
use crate::{dwarf, image};

/// How much of an image's package is asked for at first, in bytes: vmlinuz ends at 7 to 13 million in Debian's.
const FIRST_OF_IMAGE: u64 = 13 << 20;
/// How much for the configuration, which comes before vmlinuz: it ends at less than 1.5 million.
const FIRST_OF_CONFIG: u64 = 3 << 19;

/// What is looked for in a package that is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// vmlinux, unless modules come before it.
    BeforeModules,
    /// vmlinux, wherever it is.
    Vmlinux,
    /// What there is.
    Either,
}

/// One attempt: what is wanted, and what was considered so far.
pub(super) struct Work<'a> {
    pub(super) client: &'a Client,
    pub(super) release: Option<&'a str>,
    pub(super) options: &'a Options,
    places: Places,
    explanation: Explanation,
    /// Packages whose modules were looked at.
    seen: Vec<Url>,
}

/// What a way gave, or nothing, and why.
pub(super) type Tried<T> = Result<(Option<T>, String), Error>;

impl<'a> Work<'a> {
    pub(super) fn new(client: &'a Client, release: Option<&'a str>, options: &'a Options) -> Self {
        let (places, explanation) = (Places::default(), Explanation::default());
        Self { client, release, options, places, explanation, seen: Vec::new() }
    }

    /// The same for a kernel whose definition says where its files are.
    pub(super) fn of(client: &'a Client, kernel: &'a OfferedKernel, options: &'a Options) -> Self {
        let release = kernel.release();
        let of = |templates| offer::Places::of(templates, release);
        let parts = [
            (&kernel.places.vmlinux, Part::Vmlinux),
            (&kernel.places.image, Part::Image),
            (&kernel.places.config, Part::Config),
        ];
        let files =
            parts.into_iter().flat_map(|(paths, part)| of(paths).map(move |path| (path, part))).collect();
        let places =
            Places { release: release.to_owned(), files, modules: of(&kernel.places.modules).collect() };
        Self { places, ..Self::new(client, Some(release), options) }
    }

    /// Another attempt at something of the same kernel, beside this one.
    pub(super) fn aside(&self) -> Work<'a> {
        Self { places: self.places.clone(), ..Self::new(self.client, self.release, self.options) }
    }

    /// Takes over what an attempt beside this one considered.
    pub(super) fn take_in(&mut self, aside: Work<'_>) {
        self.explanation.steps.extend(aside.explanation.steps);
    }

    pub(super) fn finish(self, result: Result<Fetched, Error>) -> Result<Fetched, Failed> {
        match result {
            Ok(fetched) => Ok(Fetched { explanation: self.explanation, ..fetched }),
            Err(error) => Err(Failed { error, explanation: self.explanation }),
        }
    }

    /// Notes a way that is not tried.
    pub(super) fn pass(&mut self, way: Way, package: Option<&Package>, reason: &str) {
        self.note(way, package, false, reason.to_owned(), &Spent::default());
    }

    fn note(&mut self, way: Way, package: Option<&Package>, taken: bool, reason: String, spent: &Spent) {
        let package = package.map(|package| match package.name.as_str() {
            "" => public_url(&package.url),
            name => name.to_owned(),
        });
        let (package_bytes, bytes, requests) = (spent.length(), spent.bytes(), spent.requests());
        self.explanation.steps.push(Step { way, package, taken, reason, package_bytes, bytes, requests });
    }

    /// Goes one way and notes what came of it.
    pub(super) fn go<T>(
        &mut self,
        way: Way,
        package: &Package,
        work: impl FnOnce(&mut Self, &Spent) -> Tried<T>,
    ) -> Result<Option<T>, Error> {
        let spent = Spent::watched_by(&self.options.arrived);
        let (result, taken, reason) = match work(self, &spent) {
            Ok((result, reason)) => (Ok(()), result, reason),
            Err(error) => {
                let reason = error.to_string();
                (Err(error), None, reason)
            }
        };
        self.note(way, Some(package), taken.is_some(), reason, &spent);
        result.map(|()| taken)
    }

    /// What is looked for in a package that is streamed.
    fn search(
        &self,
        package: &Package,
        spent: &Spent,
        first: Option<u64>,
        options: package::Options,
    ) -> Result<Search<Stream>, Error> {
        let first = first.filter(|_| self.options.verify == Verify::Sparse && !self.options.modules);
        let stream = Stream::open(self.client, package, first, spent)?;
        let options = package::Options {
            release: self.release.map(str::to_owned),
            places: self.places.clone(),
            length: stream.len().or(package.size),
            threads: self.options.threads,
            whole: self.options.verify == Verify::Full,
            memory: self.options.memory,
            ..options
        };
        let search = Search::new(stream, options)?;
        check_identity(package, search.identity())?;
        Ok(search)
    }

    /// The bootable kernel. `None`: it has no BTF, or cannot be looked into; an error instead where `only` says that there is no other way.
    pub(super) fn image(&mut self, package: &Package, only: bool) -> Result<Option<Fetched>, Error> {
        self.go(Way::Image, package, |work, spent| {
            let aim = package::Options { aim: package::Aim::Image, needs_btf: true, ..Default::default() };
            let tried = work.search(package, spent, Some(FIRST_OF_IMAGE), aim).and_then(|mut search| {
                let found = search.kernel()?;
                let path = found.path.clone();
                let (extracted, way) = from_image(&found)?;
                let reason = format!("{path} has BTF inside ({way})");
                Ok((Some(work.complete(search, found, extracted, package)?), reason))
            });
            match tried {
                Err(error) if !only && !error.is_passing() && !error.is_refusal() => {
                    Ok((None, error.to_string()))
                }
                tried => tried,
            }
        })
    }

    /// The debug package, or what may be one, from its beginning. `None`: modules come first, and they were not to.
    pub(super) fn streamed(&mut self, package: &Package, aim: Aim) -> Result<Option<Fetched>, Error> {
        let way = if aim == Aim::Either { Way::Streamed } else { Way::DebugStreamed };
        self.go(way, package, |work, spent| {
            let options = package::Options {
                aim: if aim == Aim::Either { package::Aim::Either } else { package::Aim::Vmlinux },
                before_modules: aim == Aim::BeforeModules,
                ..Default::default()
            };
            let first = Some(FIRST_OF_IMAGE).filter(|_| aim == Aim::Either && is_named_image(&package.url));
            let mut search = work.search(package, spent, first, options)?;
            let found = match search.kernel() {
                Err(PackageError::AfterModules) => return Ok((None, PackageError::AfterModules.to_string())),
                found => found?,
            };
            let path = found.path.clone();
            let (extracted, reason) = if found.is_image {
                let (extracted, way) = from_image(&found)?;
                (extracted, format!("{path} has BTF inside ({way})"))
            } else {
                let shared = work.shared(&mut search, &found)?;
                let extracted =
                    work.extract_with(&found.file, shared.as_ref().map(|file| file as &dyn ReadAt), &path)?;
                let with = if shared.is_some() { " and what its DWARF shares with other files" } else { "" };
                let reason = format!("{path}{with} is complete: {}", made_of(&extracted));
                (extracted, reason)
            };
            Ok((Some(work.complete(search, found, extracted, package)?), reason))
        })
    }

    /// What the vmlinux's debug information shares with other files, where `dwz -m` took it out of them (SUSE) and it is in the same package.
    fn shared<R: Read>(&self, search: &mut Search<R>, found: &Found) -> Result<Option<ChunkStore>, Error> {
        // What is wrong with the file, its conversion says.
        let Ok(image) = Image::parse(&found.file) else { return Ok(None) };
        let converted = self.options.from == From::Dwarf || image.section_named(".BTF").is_none();
        let Some(link) = dwarf::Link::of(&image).ok().flatten().filter(|_| converted) else {
            return Ok(None);
        };
        while let Some(file) = search.next_shared()? {
            let meant = Image::parse(&file).is_ok_and(|shared| link.check(&image, &shared).is_ok());
            if meant {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Looks at the modules that follow, ends the reading, and compares with the index.
    fn complete<R: Read>(
        &mut self,
        mut search: Search<R>,
        found: Found,
        extracted: Extracted,
        package: &Package,
    ) -> Result<Fetched, Error> {
        let mut modules = Modules::default();
        // Modules that came before vmlinux are gone: their package is streamed again.
        if self.options.modules && search.modules_passed() == 0 {
            self.convert(&mut search, &extracted.btf, &mut modules)?;
            self.seen.push(package.url.clone());
        }
        let config = search.take_config();
        let identity = search.identity().clone();
        let (trust, sha256) = check_end(package, &search.end()?)?;
        let Extracted { btf, source, build_id, report } = extracted;
        let Found { release, path, .. } = found;
        let (url, explanation) = (package.url.clone(), Explanation::default());
        Ok(Fetched {
            btf,
            source,
            build_id,
            release,
            report,
            identity,
            url,
            path,
            trust,
            sha256,
            modules,
            config,
            explanation,
        })
    }

    /// The debug package's blocks that hold what is wanted. `None`: it cannot be read so.
    pub(super) fn in_parts(&mut self, package: &Package) -> Result<Option<Fetched>, Error> {
        self.go(Way::DebugInParts, package, |work, spent| {
            let parts = InParts::new(work.client, package, spent);
            let opened = Sparse::open(&parts).and_then(|sparse| {
                let located = sparse.vmlinux(work.release, &work.places)?;
                Ok((sparse, located))
            });
            let (sparse, located) = match opened {
                Err(error @ PackageError::NoParts { .. }) => return Ok((None, error.to_string())),
                opened => opened?,
            };
            check_identity(package, sparse.identity())?;
            let (release, path) = (located.release.clone(), located.path.clone());
            let file = SparseFile::new(&sparse, located);
            work.prefetch(&file, &path)?;
            let extracted = work.extract(&file, &path)?;
            let reason = format!(
                "{path} in {} of {} blocks: {}",
                sparse.fetched(),
                sparse.blocks(),
                made_of(&extracted)
            );
            let Extracted { btf, source, build_id, report } = extracted;
            let fetched = Fetched {
                btf,
                source,
                build_id,
                release,
                report,
                identity: sparse.identity().clone(),
                url: package.url.clone(),
                path,
                trust: package.trust,
                sha256: None,
                modules: Modules::default(),
                config: None,
                explanation: Explanation::default(),
            };
            Ok((Some(fetched), reason))
        })
    }

    /// Fetches the sections that will be read, together.
    fn prefetch(&self, file: &SparseFile<'_, '_>, path: &str) -> Result<(), Error> {
        /// The ELF header; and the end, where the table of sections is.
        const ENDS: u64 = 4096;
        const NOTE: u32 = 7;
        const NOBITS: u32 = 8;
        let len = file.len();
        file.prefetch(&[0..ENDS.min(len), len.saturating_sub(ENDS)..len])?;
        let elf = Image::parse(file)
            .map_err(|error| Error::Extract { path: path.to_owned(), source: Box::new(error.into()) })?;
        let embedded = elf.section_named(".BTF").is_some() && self.options.from != From::Dwarf;
        let wanted = elf.sections.iter().filter(|section| {
            section.kind != NOBITS
                && (section.kind == NOTE
                    || if embedded { section.name == ".BTF" } else { dwarf::reads(&elf, &section.name) })
        });
        let ranges: Vec<_> =
            wanted.map(|section| section.offset..section.offset.saturating_add(section.size)).collect();
        let fetched = if embedded { file.prefetch(&ranges) } else { file.prefetch_blocks(&ranges) };
        Ok(fetched?)
    }

    /// The BTF of vmlinux.
    pub(super) fn extract(&self, file: &dyn ReadAt, path: &str) -> Result<Extracted, Error> {
        self.extract_with(file, None, path)
    }

    fn extract_with(
        &self,
        file: &dyn ReadAt,
        shared: Option<&dyn ReadAt>,
        path: &str,
    ) -> Result<Extracted, Error> {
        let extracted = vmlinux::extract_with(file, shared, self.options.from, self.options.threads)
            .map_err(|source| Error::Extract { path: path.to_owned(), source: Box::new(source) })?;
        let plausible = Btf::parse(&extracted.btf).is_ok_and(|btf| vmlinux::is_plausible_kernel(&btf));
        if plausible { Ok(extracted) } else { Err(Error::Implausible { path: path.to_owned() }) }
    }

    /// The configuration alone. `None`: it is not in that package.
    pub(super) fn config(&mut self, package: &Package) -> Result<Option<Vec<u8>>, Error> {
        self.go(Way::Config, package, |work, spent| {
            let mut search =
                work.search(package, spent, Some(FIRST_OF_CONFIG), package::Options::default())?;
            let config = search.config()?;
            check_end(package, &search.end()?)?;
            Ok(match config {
                Some(config) => {
                    let reason = format!("{} bytes", config.len());
                    (Some(config), reason)
                }
                None => (None, "it has none".to_owned()),
            })
        })
    }

    /// The modules that are still missing, from the packages that may have them.
    pub(super) fn modules(&mut self, fetched: &mut Fetched, kernel: &OfferedKernel) -> Result<(), Error> {
        let by_btf = [(Role::Image, Way::Modules), (Role::Modules, Way::Modules)];
        let by_dwarf = [(Role::Debug, Way::ModulesDebug), (Role::ModulesDebug, Way::ModulesDebug)];
        let embedded = fetched.source == Source::Embedded;
        for (roles, wanted) in [(by_btf, embedded), (by_dwarf, true)] {
            // Kernels of before 5.11 have BTF, and their modules have none.
            if !wanted || !fetched.modules.btf.is_empty() {
                continue;
            }
            for (role, way) in roles {
                if let Some(package) =
                    kernel.package(role).filter(|package| !self.seen.contains(&package.url))
                {
                    self.modules_of(fetched, package, way)?;
                }
            }
        }
        Ok(())
    }

    /// The modules of one package, if they were not looked at on the way.
    pub(super) fn modules_of(
        &mut self,
        fetched: &mut Fetched,
        package: &Package,
        way: Way,
    ) -> Result<(), Error> {
        if self.seen.contains(&package.url) {
            return Ok(());
        }
        self.seen.push(package.url.clone());
        let release = fetched.release.clone();
        self.go(way, package, |work, spent| {
            let mut search = work.search(package, spent, None, package::Options::default())?;
            search.only(release);
            let before = fetched.modules.btf.len();
            let came = work.convert(&mut search, &fetched.btf, &mut fetched.modules)?;
            check_end(package, &search.end()?)?;
            let made = fetched.modules.btf.len() - before;
            Ok(((made > 0).then_some(()), format!("BTF of {made} of {came} modules")))
        })?;
        Ok(())
    }

    /// Converts the modules that follow in a package.
    fn convert<R: Read>(
        &self,
        search: &mut Search<R>,
        btf: &[u8],
        modules: &mut Modules,
    ) -> Result<usize, Error> {
        let base = Btf::parse(btf).map_err(Error::Base)?;
        let index = BaseIndex::of(&base).map_err(Error::Base)?;
        Ok(modules::convert(search, &index, self.options.from, self.options.threads, modules)?)
    }
}

/// Whether a file's name says that it is the package of a bootable kernel. Whoever asks has looked for the names of debug packages before.
fn is_named_image(url: &Url) -> bool {
    let name = url.path_segments().and_then(|mut path| path.next_back()).unwrap_or_default();
    ["linux-image-", "linux-binary-", "kernel-core-"].iter().any(|start| name.starts_with(start))
}

/// The BTF inside a bootable kernel, and the way to it.
fn from_image(found: &Found) -> Result<(Extracted, String), Error> {
    let failed = |source| Error::Image { path: found.path.clone(), source };
    let len = usize::try_from(found.file.len()).unwrap_or(usize::MAX);
    let bytes = found.file.read_at(0, len).map_err(|source| PackageError::Input { offset: 0, source })?;
    let image::Embedded { btf, build_id, way } = image::find(&bytes).map_err(failed)?;
    let types = Btf::parse(&btf).map_or(0, |btf| btf.type_count() as usize - 1);
    let report = vmlinux::Report { types, ..Default::default() };
    Ok((Extracted { btf, source: Source::Embedded, build_id, report }, way))
}

pub(super) fn made_of(extracted: &Extracted) -> &'static str {
    match extracted.source {
        Source::Dwarf => "BTF made of its DWARF",
        _ => "its own BTF",
    }
}
