//! One response body, read to its end through broken connections (RFC 9110: Range, If-Range, Content-Range).

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::retry::{Retry, is_transient, retry_after};
use super::{Client, Error, public_url};

/// A response whose body is read chunk by chunk.
#[derive(Debug)]
pub struct Body {
    client: Client,
    url: Url,
    response: Response,
    identity: Identity,
    /// Bytes given to the caller.
    offset: u64,
    /// Bytes of the current response to throw away: the server ignored a Range and began at the beginning.
    skip: u64,
    retry: Retry,
}

/// What must not change between two requests for one file. Some servers and proxies send no ETag and no date.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    etag: Option<Vec<u8>>,
    last_modified: Option<Vec<u8>>,
    length: Option<u64>,
}

impl Identity {
    fn new(headers: &HeaderMap, length: Option<u64>) -> Self {
        let value =
            |name| headers.get(name).map(|value: &reqwest::header::HeaderValue| value.as_bytes().to_vec());
        Self { etag: value(ETAG), last_modified: value(LAST_MODIFIED), length }
    }

    /// Why `self`, seen when going on, is not the file that `first` described; `None` if it is.
    fn differs_from(&self, first: &Self) -> Option<&'static str> {
        if self.etag != first.etag {
            Some("the file's ETag changed")
        } else if self.last_modified != first.last_modified {
            Some("the file's Last-Modified changed")
        } else if self.length != first.length {
            Some("the file's length changed")
        } else {
            None
        }
    }
}

impl Body {
    pub(super) async fn open(client: Client, url: Url) -> Result<Self, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Scheme { url: public_url(&url) });
        }
        let mut retry = Retry::new();
        let response = request(&client, &url, 0, None, &mut retry).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status { url: public_url(&url), status: response.status() });
        }
        let identity = Identity::new(response.headers(), response.content_length());
        retry.progress();
        Ok(Self { client, url, response, identity, offset: 0, skip: 0, retry })
    }

    /// Length of the whole body in bytes, where the server told it.
    pub fn len(&self) -> Option<u64> {
        self.identity.length
    }

    /// Whether the server said that there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The URL that was asked for, without credentials and query.
    pub fn url(&self) -> String {
        public_url(&self.url)
    }

    /// The next piece of the body, or `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.response.chunk().await {
                Ok(Some(mut chunk)) => {
                    self.client.count(&chunk);
                    let skipped = chunk.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                    self.skip -= skipped as u64;
                    let _ = chunk.split_to(skipped);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.offset += chunk.len() as u64;
                    self.retry.progress();
                    return Ok(Some(chunk));
                }
                Ok(None) if self.identity.length.is_none_or(|length| length == self.offset) => {
                    return Ok(None);
                }
                // The length is known and was not reached: hyper reports that as an error, except where a proxy
                // rewrote the framing.
                Ok(None) => self.resume(None).await?,
                Err(error) => self.resume(Some(error)).await?,
            }
        }
    }

    /// Asks for the rest after the connection broke.
    async fn resume(&mut self, cause: Option<reqwest::Error>) -> Result<(), Error> {
        let refuse = |reason| Error::NotResumable { url: public_url(&self.url), offset: self.offset, reason };
        if self.identity == (Identity { etag: None, last_modified: None, length: None }) {
            return Err(refuse("the server sent neither ETag, Last-Modified nor length"));
        }
        match (self.retry.failed(&self.client.options, None), cause) {
            (Some(pause), _) => tokio::time::sleep(pause).await,
            (None, Some(source)) => return Err(self.transport(source)),
            (None, None) => return Err(refuse("the server keeps ending the body early")),
        }
        let response =
            request(&self.client, &self.url, self.offset, Some(&self.identity), &mut self.retry).await?;
        let (start, length) = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(response.headers())
                .ok_or_else(|| refuse("the server answered a Range without a valid Content-Range"))?,
            StatusCode::OK => (0, response.content_length()),
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(refuse("the file became shorter")),
            status => return Err(Error::Status { url: public_url(&self.url), status }),
        };
        if let Some(reason) = Identity::new(response.headers(), length).differs_from(&self.identity) {
            return Err(refuse(reason));
        }
        self.skip = self.offset.checked_sub(start).ok_or_else(|| refuse("the server skipped bytes"))?;
        self.response = response;
        Ok(())
    }

    fn transport(&self, source: reqwest::Error) -> Error {
        Error::Transport {
            url: public_url(&self.url),
            offset: self.offset,
            attempts: self.retry.failures(),
            source: source.without_url(),
        }
    }
}

/// Sends one GET for the bytes from `offset` on, and again after pauses, until there is an answer that is no transient
/// failure.
async fn request(
    client: &Client,
    url: &Url,
    offset: u64,
    identity: Option<&Identity>,
    retry: &mut Retry,
) -> Result<Response, Error> {
    loop {
        let mut request = client.http.get(url.clone());
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        // Only a strong ETag may guard a range; without one, the answer's own validators are compared.
        let etag = identity.and_then(|identity| identity.etag.as_ref());
        if let Some(etag) = etag.filter(|etag| offset > 0 && !etag.starts_with(b"W/")) {
            request = request.header(IF_RANGE, etag.as_slice());
        }
        match request.send().await {
            Ok(response) if is_transient(response.status()) => {
                let Some(pause) = retry.failed(&client.options, retry_after(response.headers())) else {
                    return Err(Error::Status { url: public_url(url), status: response.status() });
                };
                tracing::info!(url = public_url(url), status = %response.status(), ?pause, "trying again");
                drop(response);
                tokio::time::sleep(pause).await;
            }
            Ok(response) => return Ok(response),
            Err(error) if error.is_builder() || error.is_redirect() => {
                return Err(Error::Request { url: public_url(url), source: error.without_url() });
            }
            Err(error) => {
                let Some(pause) = retry.failed(&client.options, None) else {
                    return Err(Error::Transport {
                        url: public_url(url),
                        offset,
                        attempts: retry.failures(),
                        source: error.without_url(),
                    });
                };
                tracing::info!(
                    url = public_url(url),
                    error = super::chain(&error.without_url()),
                    ?pause,
                    "trying again"
                );
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// First byte and, unless it is `*`, total length in `Content-Range: bytes FIRST-LAST/TOTAL`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check which Content-Range values are believed.
    #[test]
    fn content_range_values() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse("bytes 5-9/*"), Some((5, None)));
        for wrong in ["bytes */10", "bytes 9-5/10", "bytes 5-10/10", "5-9/10", "bytes 5-9", "bytes -1-9/10"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
