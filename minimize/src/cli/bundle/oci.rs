//! A gadget's image as an OCI image layout: for each architecture a manifest with the object and the BTFs as layers.
//!
//! Sources: OCI's image specification (image-layout.md, manifest.md, image-index.md), and Inspektor Gadget's reference of its images. No times, so that the same input
//! gives the same digests.

use std::borrow::Cow;
use std::collections::BTreeMap;

use btf_archive::Digest;
use serde_json::{Value, json};

use super::names::Member;
use super::tarball;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const GADGET: &str = "application/vnd.gadget.v1+binary";
const PROGRAM: &str = "application/vnd.gadget.ebpf.program.v1+binary";
const BTFS: &str = "application/vnd.gadget.btfgen.v1+binary";

/// Blobs by their names.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob; gives its descriptor.
    fn add(&mut self, media_type: &str, data: Vec<u8>) -> Value {
        let digest = Digest::of(&data);
        let descriptor =
            json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": data.len() });
        self.0.insert(format!("blobs/sha256/{digest}"), data);
        descriptor
    }
}

/// The files of the image.
pub(super) fn members(object: &[u8], btfs: &[Member<'_>]) -> anyhow::Result<Vec<Member<'static>>> {
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for (arch, name) in [("x86_64", "amd64"), ("arm64", "arm64")] {
        let own: Vec<_> = btfs.iter().filter(|member| member.arch == arch).collect();
        if own.is_empty() {
            continue;
        }
        let layers = [blobs.add(PROGRAM, object.to_vec()), blobs.add(BTFS, tarball::gzip(own.into_iter())?)];
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": GADGET,
            "config": blobs.add(EMPTY, b"{}".to_vec()),
            "layers": layers,
        });
        let mut descriptor = blobs.add(MANIFEST, serde_json::to_vec(&manifest)?);
        descriptor["platform"] = json!({ "architecture": name, "os": "linux" });
        manifests.push(descriptor);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut descriptor = blobs.add(INDEX, serde_json::to_vec(&index)?);
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    blobs.0.insert("index.json".to_owned(), serde_json::to_vec(&top)?);
    blobs.0.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    let member = |(name, data)| Member { name, data: Cow::Owned(data), arch: "" };
    Ok(blobs.0.into_iter().map(member).collect())
}
