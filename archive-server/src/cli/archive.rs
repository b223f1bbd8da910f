//! Which archive a command works on: the arguments that all of them share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use btf_archive::Digest;
use btf_archive::store::{Archive, Error};
use btf_archive::trust::SigningKey;

/// Which archive, and where its catalog is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ArchiveArgs {
    /// The archive: a directory, or a bucket as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    ///
    /// The account of a bucket is taken from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, …
    #[arg(long, value_name = "DIR|URL", env = "BTF_ARCHIVE_SERVER_ARCHIVE")]
    archive: OsString,
    /// The archive's catalog: postgres://USER@HOST/DATABASE, or the path of an SQLite file [default: in the archive's directory]
    #[arg(long, value_name = "URL|FILE", env = "BTF_ARCHIVE_CATALOG", hide_env_values = true)]
    catalog: Option<String>,
}

impl ArchiveArgs {
    /// The archive, which must exist.
    pub(crate) async fn open(&self) -> Result<Archive, Error> {
        Archive::open_with(&self.archive, self.catalog.as_deref()).await
    }

    /// The archive, made if it does not exist.
    pub(crate) async fn create(&self) -> Result<Archive, Error> {
        Archive::create_with(&self.archive, self.catalog.as_deref()).await
    }

    /// The archive, whatever state its snapshots are in.
    pub(crate) async fn open_damaged(&self) -> Result<Archive, Error> {
        Archive::open_damaged(&self.archive, self.catalog.as_deref()).await
    }

    /// The archive, of which nothing will be changed.
    pub(crate) async fn open_read_only(&self) -> Result<Archive, Error> {
        Archive::open_read_only(&self.archive).await
    }

    /// A place for files beside the archive: in its directory, or for a bucket one of its own in the system's temporary directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        let text = self.archive.to_string_lossy();
        match text.strip_prefix("file://") {
            Some(path) => Path::new(path).join(name),
            None if !text.contains("://") => Path::new(&self.archive).join(name),
            None => std::env::temp_dir().join(format!("{name}-{}", Digest::of(text.as_bytes()))),
        }
    }

    /// The archive, of which nothing is read yet, and nothing will be changed; on a web server, too.
    pub(crate) async fn look_at(&self) -> Result<Archive, Error> {
        Archive::look_at(&self.archive).await
    }

    /// The archive with its catalog, if it has one here, whatever state it is in.
    pub(crate) async fn with_catalog(&self) -> Result<Option<Archive>, Error> {
        let is_here = self.catalog.is_some() || Path::new(&self.archive).join("catalog.sqlite").is_file();
        if !is_here {
            return Ok(None);
        }
        let archive = Archive::open_damaged(&self.archive, self.catalog.as_deref()).await?;
        // A process that was killed may have left it behind. What cannot be taken over shows as damage.
        let _ = archive.refresh().await;
        Ok(Some(archive))
    }

    /// For messages: never with a password, which is not in `--archive`.
    pub(crate) fn named(&self) -> String {
        self.archive.to_string_lossy().into_owned()
    }
}

/// The key that signs what is published.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SigningArgs {
    /// The snapshot key that signs what is published: a file of `keys new`; a signed archive needs it.
    #[arg(long, value_name = "FILE", env = "BTF_ARCHIVE_SIGNING_KEY")]
    signing_key: Option<PathBuf>,
}

impl SigningArgs {
    /// Has an archive sign with the key, if one was given.
    pub(crate) fn sign(&self, archive: &mut Archive) -> Result<(), Error> {
        if let Some(file) = &self.signing_key {
            archive.sign_with(SigningKey::load_plain(file)?);
        }
        Ok(())
    }
}
