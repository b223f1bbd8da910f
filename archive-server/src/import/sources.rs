//! Where volumes are read from: tar files, standard input, directories of tar files, OCI image layouts.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use btf_archive::Digest;
use btf_archive::volume::{Entry, Manifest, Reader};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::export::oci;

/// The most bytes that a document of an OCI layout may have.
const MAX_DOCUMENT: u64 = 4 << 20;
/// The most layers that are taken.
const MAX_LAYERS: usize = 100_000;

/// One volume, still closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// A file that could not be read, or a directory that has no volumes.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct SourceError {
    name: String,
    reason: String,
}

impl SourceError {
    fn new(name: &Path, reason: impl ToString) -> Self {
        Self { name: name.display().to_string(), reason: reason.to_string() }
    }

    pub(super) fn none() -> Self {
        Self { name: "import".to_owned(), reason: "no volumes were given".to_owned() }
    }
}

impl Source {
    /// The volumes that an argument names: a file, `-`, a directory of tar files, or an OCI image layout (its `latest`, or only, image).
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn all(argument: &Path) -> Result<Vec<Self>, SourceError> {
        if argument == Path::new("-") {
            return Ok(vec![Self::Stdin]);
        }
        if !argument.is_dir() {
            return Ok(vec![Self::File(argument.to_owned())]);
        }
        if argument.join(oci::MARK).is_file() {
            return layers(argument);
        }
        let io = |error: std::io::Error| SourceError::new(argument, error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(argument).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                files.push(Self::File(path));
            }
        }
        files.sort_by_key(|source| match source {
            Self::File(path) => Some(path.clone()),
            Self::Stdin => None,
        });
        match files.is_empty() {
            true => {
                Err(SourceError::new(argument, "neither an OCI image layout nor a directory with tar files"))
            }
            false => Ok(files),
        }
    }
}

/// A volume that is being read.
pub(super) struct Volume {
    reader: Reader<Box<dyn Read + Send>>,
    name: String,
}

impl Volume {
    pub(super) fn open(source: Source) -> Result<Self, super::Error> {
        let (input, name): (Box<dyn Read + Send>, _) = match source {
            Source::Stdin => (Box::new(std::io::stdin()), "standard input".to_owned()),
            Source::File(path) => {
                let file = File::open(&path).map_err(|error| SourceError::new(&path, error))?;
                (Box::new(BufReader::with_capacity(1 << 20, file)), path.display().to_string())
            }
        };
        let reader =
            Reader::new(input).map_err(|source| super::Error::Volume { volume: name.clone(), source })?;
        Ok(Self { reader, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn manifest(&self) -> &Manifest {
        self.reader.manifest()
    }

    pub(super) fn object(&mut self) -> btf_archive::Result<Option<(Entry, Vec<u8>)>> {
        self.reader.object()
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Image {
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// The volumes of an OCI image layout. Layers are checked by what is in them; documents by their digests.
fn layers(layout: &Path) -> Result<Vec<Source>, SourceError> {
    let path = layout.join("index.json");
    let Index { manifests } = document(&path, None)?;
    let name = |descriptor: &&Descriptor| {
        descriptor.annotations.get("org.opencontainers.image.ref.name").is_some_and(|name| name == "latest")
    };
    let descriptor = match (manifests.iter().find(name), manifests.as_slice()) {
        (Some(latest), _) => latest,
        (None, [only]) => only,
        (None, _) => {
            return Err(SourceError::new(
                &path,
                "has several images and none is called `latest`: copy one with skopeo",
            ));
        }
    };
    let (path, digest) = blob(layout, &descriptor.digest)?;
    let Image { layers } = document(&path, Some(digest))?;
    if layers.len() > MAX_LAYERS {
        return Err(SourceError::new(&path, "has too many layers"));
    }
    let other = layers.iter().find(|layer| layer.media_type != oci::LAYER);
    if let Some(layer) = other {
        let reason =
            format!("is another image: it has a layer of the type {}", layer.media_type.escape_debug());
        return Err(SourceError::new(&path, reason));
    }
    layers.iter().map(|layer| Ok(Source::File(blob(layout, &layer.digest)?.0))).collect()
}

/// Where a blob of the layout lies.
fn blob(layout: &Path, digest: &str) -> Result<(PathBuf, Digest), SourceError> {
    let parsed = digest.strip_prefix("sha256:").and_then(|hex| hex.parse::<Digest>().ok());
    let digest =
        parsed.ok_or_else(|| SourceError::new(layout, "has a blob that is not named by its sha256"))?;
    Ok((layout.join("blobs/sha256").join(digest.to_string()), digest))
}

fn document<T: DeserializeOwned>(path: &Path, digest: Option<Digest>) -> Result<T, SourceError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| SourceError::new(path, error))?;
    file.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(|error| SourceError::new(path, error))?;
    if let Some(digest) = digest {
        digest.check(&bytes).map_err(|error| SourceError::new(path, error))?;
    }
    serde_json::from_slice(&bytes).map_err(|error| SourceError::new(path, error))
}
