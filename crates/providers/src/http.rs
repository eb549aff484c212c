//! The one way in which this crate talks HTTP: deadlines on everything, no redirects, no proxies from the
//! environment, answers read up to a cap, TLS by rustls.

use std::time::Duration;

use reqwest::{Client, Response, redirect};

use crate::failure::{FailureKind, ProviderError};

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

/// What a call without an answer means. Says nothing of the URL, which may hold more than a log should.
pub fn transport_failure(error: &reqwest::Error) -> ProviderError {
    let (kind, message) = if error.is_timeout() {
        (FailureKind::Timeout, "no answer in time")
    } else if error.is_connect() {
        (FailureKind::ProviderDown, "no connection: check the network, the name and the certificates")
    } else if error.is_builder() {
        (FailureKind::BadRequest, "the request could not be built")
    } else {
        // Also a body that ends early, which cannot be told from a broken encoding.
        (FailureKind::ProviderDown, "the connection broke off")
    };
    ProviderError::new(kind, message)
}
