//! One request: its redirects, followed hop by hop with a look at where they lead, and its repeated attempts.

use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::address::Scope;
use super::error::chain;
use super::hosts::Permit;
use super::resolve::Refused;
use super::retry::{Retry, is_transient, retry_after};
use super::{Client, Error, public_url};

/// What is asked for.
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    /// Where an earlier request for it ended; the first attempt goes straight there.
    pub(super) place: Option<&'a Place>,
    /// The value of a Range header.
    pub(super) range: Option<String>,
    /// A strong ETag that guards the range.
    pub(super) if_range: Option<&'a [u8]>,
    /// Bytes of the file that were read before, for messages.
    pub(super) offset: u64,
    /// When the time for this file is up.
    pub(super) deadline: Instant,
}

/// Where a request ended, after its redirects.
#[derive(Clone, Debug)]
pub(super) struct Place {
    url: Url,
    /// The server that sent us there, if one did.
    from: Option<Scope>,
}

/// The head of an answer, with its body still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) place: Place,
    /// Kept as long as the body is read.
    _permit: Permit,
}

impl Ask<'_> {
    /// Sends the request, and again after pauses, until there is an answer that is no transient failure.
    pub(super) async fn send(&self, client: &Client, retry: &mut Retry) -> Result<Answer, Error> {
        match tokio::time::timeout_at(self.deadline, self.attempts(client, retry)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Deadline { url: public_url(self.url), limit: client.options.total_timeout }),
        }
    }

    async fn attempts(&self, client: &Client, retry: &mut Retry) -> Result<Answer, Error> {
        let url = || public_url(self.url);
        let mut place = self.place.cloned();
        loop {
            let start = place.take().unwrap_or_else(|| Place { url: self.url.clone(), from: None });
            let pause = match self.follow(client, start).await? {
                Ok(answer) if is_transient(answer.response.status()) => {
                    let (status, asked) = (answer.response.status(), retry_after(answer.response.headers()));
                    let Some(pause) = retry.failed(&client.options, asked) else {
                        return Err(Error::Status { url: url(), status, retry_after: asked });
                    };
                    if asked.is_some() {
                        client.shared.hosts.leave_alone(&answer.place.url, pause);
                    }
                    tracing::info!(url = url(), %status, ?pause, "trying again");
                    pause
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(Error::Request { url: url(), source: error.without_url() });
                }
                Err(error) => {
                    let source = error.without_url();
                    let Some(pause) = retry.failed(&client.options, None) else {
                        let (offset, attempts) = (self.offset, retry.failures());
                        return Err(Error::Transport { url: url(), offset, attempts, source });
                    };
                    tracing::info!(url = url(), error = chain(&source), ?pause, "trying again");
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One attempt: the answer, or what kept it from coming. The outer error is final.
    async fn follow(&self, client: &Client, start: Place) -> Result<Result<Answer, reqwest::Error>, Error> {
        let refuse = |reason: String| Error::Redirect { url: public_url(self.url), reason };
        let mut place = start;
        let mut redirects = 0;
        loop {
            let permit = client.shared.hosts.permit(&place.url).await;
            let http = client.http(place.from, place.url.origin() == self.url.origin())?;
            client.count_request();
            let response = match http.get(place.url.clone()).headers(self.headers()).send().await {
                Ok(response) => response,
                Err(error) => match Refused::behind(&error) {
                    Some(refused) => return Err(refuse(refused.to_string())),
                    None => return Ok(Err(error)),
                },
            };
            let Some(location) = redirect(&response) else {
                return Ok(Ok(Answer { response, place, _permit: permit }));
            };
            redirects += 1;
            if redirects > client.options.redirects {
                return Err(refuse(format!("more than {} redirects", client.options.redirects)));
            }
            let target = std::str::from_utf8(location.as_bytes()).ok().and_then(|to| place.url.join(to).ok());
            let target = target.ok_or_else(|| refuse("it leads to no URL".to_owned()))?;
            if !matches!(target.scheme(), "http" | "https") {
                return Err(refuse(format!("it leads to a URL of scheme {}", target.scheme())));
            }
            if place.url.scheme() == "https" && target.scheme() != "https" {
                return Err(refuse("it leads from https to a URL without TLS".to_owned()));
            }
            let from = client.names.scope(&place.url);
            client.names.check(from, &target).map_err(|refused| refuse(refused.to_string()))?;
            place = Place { url: target, from: Some(from) };
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name, value: &[u8]| {
            // Both are our own text or came as a header's value.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        };
        if let Some(range) = &self.range {
            put(RANGE, range.as_bytes());
        }
        if let Some(etag) = self.if_range {
            put(IF_RANGE, etag);
        }
        headers
    }
}

/// Where a redirect leads, if the answer is one.
fn redirect(response: &Response) -> Option<&HeaderValue> {
    let redirects = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    response.headers().get(LOCATION).filter(|_| redirects)
}
