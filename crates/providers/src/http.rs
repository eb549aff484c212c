//! The one way in which this crate talks HTTP: deadlines on everything, no redirects, no proxies from the
//! environment, answers read up to a cap, TLS by rustls.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::failure::{FailureKind, ProviderError, RETRY_AFTER_MAX};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Unused connections kept for one host.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// A client whose calls end within `timeout`, from the first byte sent to the last one read.
///
/// # Errors
/// When TLS cannot be set up, as without any root certificate on the machine.
pub fn client(timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        // A redirect would carry our credentials to a place that nobody configured.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("sira/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A provider's address as it was configured: https, or http on this machine, where nobody reads along. `None` for
/// any other, and for one with credentials, a query or a fragment.
pub(crate) fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (bare && (url.scheme() == "https" || (url.scheme() == "http" && here))).then_some(url)
}

/// The value of `Authorization`, kept out of every `Debug`; `None` for a token that cannot stand there.
pub(crate) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let token = token.expose_secret();
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    (!token.trim().is_empty()).then_some(value)
}

/// The wait that the header `Retry-After` asks for, in seconds; at most [`RETRY_AFTER_MAX`]. The form with a date is
/// sent by none of our providers.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Reads the whole body, unpacked, unless it is longer than `bytes_max`: then it stops reading there.
pub async fn read_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport_failure(&error))? {
        if body.len() + chunk.len() > bytes_max {
            let message = format!("the answer is longer than {bytes_max} bytes");
            return Err(ProviderError::new(FailureKind::BadAnswer, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a call without an answer means. Says nothing of the URL, which may hold more than a log should. Without a
/// connection, also one that did not come up in time, nothing was sent and nothing can have been done.
pub fn transport_failure(error: &reqwest::Error) -> ProviderError {
    if error.is_connect() {
        let message = "no connection: check the network, the name and the certificates";
        ProviderError::never_sent(FailureKind::ProviderDown, message)
    } else if error.is_timeout() {
        ProviderError::new(FailureKind::Timeout, "no answer in time")
    } else if error.is_builder() {
        ProviderError::never_sent(FailureKind::BadRequest, "the request could not be built")
    } else {
        // Also a body that ends early, which cannot be told from a broken encoding.
        ProviderError::new(FailureKind::ProviderDown, "the connection broke off")
    }
}
