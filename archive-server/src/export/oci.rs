//! Exports as an OCI image layout (image-spec 1.1), for registries: `skopeo copy oci:DIR:latest docker://…`.
//!
//! The image is an artifact: each volume is a layer, a plain tar of the media type [`LAYER`]; the configuration says which snapshot it is. Its
//! references are `latest` and the snapshot's number.

use std::io::{self, Write};
use std::path::Path;

use btf_archive::Digest;
use btf_archive::store::Archive;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::volumes::written;
use super::{Error, Output, Plan, Request, Written, check_directory, volumes, write};

/// The media types.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.btf-archive.config.v1+json";
/// The media type of a layer that is a volume.
pub const LAYER: &str = "application/vnd.btf-archive.volume.v1.tar";

/// The file that says that a directory is such a layout.
pub const MARK: &str = "oci-layout";

/// Writes a layout; `progress` is told how many objects are written, and of how many.
///
/// # Errors
/// [`Error`]; the layout says then what it said before.
pub async fn export(
    archive: &Archive,
    request: &Request,
    directory: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, Error> {
    check_directory(directory, MARK, "OCI layout")?;
    let plan = Plan::of_volumes(archive, request).await?;
    let manifests = plan.manifests(archive, request.max_size).await?;
    let total = manifests.iter().map(|manifest| manifest.objects.len() as u64).sum();
    let (mut done, mut bytes, mut layers) = (0, 0, Vec::new());
    for manifest in manifests {
        let number = manifest.volume;
        let path = directory.join("blobs/sha256").join(format!("volume-{number}"));
        let output = Output::beside(&path)?;
        let mut hashed = Hashed { out: output.writer()?, sha256: Sha256::new(), written: 0 };
        let step = || {
            done += 1;
            progress(done, total);
        };
        volumes::write(archive, &plan, manifest, &mut hashed, &path, step).await?;
        let digest = Digest::from_bytes(hashed.sha256.finalize().into());
        bytes += output.finish_as(Some(&blob(directory, &digest)))?;
        let title = format!("btf-archive.{number:03}.tar");
        layers.push(json!({
            "mediaType": LAYER,
            "digest": format!("sha256:{digest}"),
            "size": hashed.written,
            "annotations": { "org.opencontainers.image.title": title },
        }));
    }
    let config =
        json!({ "snapshot": plan.latest.link(), "since": plan.since, "created": plan.latest.created });
    let config = store(directory, CONFIG, &config, &mut bytes)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": CONFIG,
        "config": config,
        "layers": layers,
    });
    let manifest = store(directory, MANIFEST, &manifest, &mut bytes)?;
    let reference = |name: String| {
        let mut manifest = manifest.clone();
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifest
    };
    let number = plan.latest.number;
    let manifests = [reference("latest".to_owned()), reference(number.to_string())];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    bytes += write(&directory.join(MARK), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    bytes += write(&directory.join("index.json"), index.to_string().as_bytes())?;
    Ok(written(&plan, vec![directory.display().to_string()], bytes))
}

/// Writes a JSON document as a blob; gives its descriptor.
fn store(directory: &Path, media_type: &str, document: &Value, bytes: &mut u64) -> Result<Value, Error> {
    let document = document.to_string();
    let digest = Digest::of(document.as_bytes());
    *bytes += write(&blob(directory, &digest), document.as_bytes())?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": document.len() }))
}

fn blob(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    directory.join("blobs/sha256").join(digest.to_string())
}

/// Counts and hashes what goes through.
struct Hashed<W> {
    out: W,
    sha256: Sha256,
    written: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
