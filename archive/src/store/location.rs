//! Where an archive is: a directory, or part of a bucket by URL.
//!
//! Which account a bucket is opened with comes from the environment, by the names that the providers' own tools use
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …), never from the URL: URLs end up in
//! logs and process lists.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::{Error, Result};
use crate::Provenance;

/// How long a request may take, and how long no byte may come. The largest objects have some tens of megabytes.
const REQUEST: &str = "300 seconds";
const SILENCE: &str = "30 seconds";
const CONNECT: &str = "10 seconds";

/// Where an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Directory(PathBuf),
    Bucket(Url),
    /// A web server, of which nothing can be listed or changed.
    Web(Url),
    /// A store that somebody else opened, by its name.
    Other(String),
}

impl Location {
    /// Reads a path, or a URL of one of the kinds that can be opened.
    pub(super) fn parse(location: &OsStr) -> Result<Self> {
        let Some((scheme, _)) = location.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Self::Directory(PathBuf::from(location)));
        };
        let text = location.to_string_lossy();
        let unsupported = || Error::Unsupported { location: Provenance::public_url(&text) };
        let url = Url::parse(&text).map_err(|_| unsupported())?;
        match scheme.to_ascii_lowercase().as_str() {
            "file" => url.to_file_path().map(Self::Directory).map_err(|()| unsupported()),
            "s3" | "gs" | "az" => {
                let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
                let plain = plain && url.query().is_none() && url.fragment().is_none();
                if plain && url.has_host() { Ok(Self::Bucket(url)) } else { Err(unsupported()) }
            }
            _ => Err(unsupported()),
        }
    }

    /// As [`Location::parse`], and the addresses of web servers.
    pub(super) fn parse_readable(location: &OsStr) -> Result<Self> {
        let text = location.to_string_lossy();
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Self::parse(location);
        }
        let unsupported = || Error::Unsupported { location: Provenance::public_url(&text) };
        let url = Url::parse(&text).map_err(|_| unsupported())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if plain && url.has_host() && url.fragment().is_none() {
            Ok(Self::Web(url))
        } else {
            Err(unsupported())
        }
    }

    /// The name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Bucket(url) | Self::Web(url) => url.to_string(),
            Self::Other(name) => name.clone(),
        }
    }
}

/// The objects below the URL of a bucket or a web server. Nothing is asked of the network yet.
pub(super) fn bucket(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    // A program may have chosen another provider before; then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let prefix = object_store::path::Path::from_url_path(url.path())
        .map_err(|_| Error::Unsupported { location: url.to_string() })?;
    let failed = |source| Error::Store { path: url.to_string(), source };
    // Some twenty seconds in all, if the other side refuses at once.
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(8),
            base: 2.,
        },
        max_retries: 8,
        retry_timeout: Duration::from_secs(120),
    };
    let patience = [
        (ClientConfigKey::Timeout, REQUEST),
        (ClientConfigKey::ReadTimeout, SILENCE),
        (ClientConfigKey::ConnectTimeout, CONNECT),
    ];
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "http" | "https" => {
            let mut options = ClientOptions::new().with_allow_http(url.scheme() == "http");
            for (key, value) in patience {
                options = options.with_config(key, value);
            }
            let builder = HttpBuilder::new().with_url(url.as_str()).with_client_options(options);
            // The prefix is in its URL.
            return Ok(Arc::new(builder.with_retry(retry).build().map_err(failed)?));
        }
        "s3" => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
            for (key, value) in patience {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            for (key, value) in patience {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        _ => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            for (key, value) in patience {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
    };
    Ok(if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location> {
        Location::parse(OsStr::new(text))
    }

    /// Check that paths and URLs are told apart, and that a URL with anything like a secret is refused without showing it.
    #[test]
    fn location_parse() {
        assert_eq!(parse("/srv/a b").unwrap(), Location::Directory("/srv/a b".into()));
        assert_eq!(parse("file:///srv/a%20b").unwrap(), Location::Directory("/srv/a b".into()));
        for url in ["s3://bucket/a/b", "gs://bucket", "az://container/a"] {
            assert_eq!(parse(url).unwrap().name(), url);
        }
        for url in [
            "s3://key:secret@bucket/x",
            "s3://bucket/x?secret",
            "s3://",
            "ftp://bucket/x",
            "https://a.example/",
        ] {
            let refused = parse(url).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    /// Check that each kind of bucket can be opened, and that a missing account is an error, not a panic.
    #[tokio::test]
    async fn location_bucket() {
        for url in ["s3://bucket/a", "gs://bucket/a", "az://container/a"] {
            let Location::Bucket(url) = parse(url).unwrap() else { panic!("{url}") };
            match bucket(&url) {
                Ok(_) => {}
                Err(error) => assert!(error.to_string().starts_with(url.as_str()), "{error}"),
            }
        }
    }
}
