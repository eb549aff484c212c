//! The Graph API's client.
//!
//! The access token travels in the `Authorization` header, never in a URL; `appsecret_proof` shows that whoever
//! holds the token also holds the app's secret.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};

use super::{MetaLead, MetaLeads, failures, lead};
use crate::failure::{FailureKind, ProviderError};
use crate::http;

/// Far above any form's answers.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Meta's ids have up to 20 digits.
const ID_CHARS_MAX: usize = 64;

/// How to reach the Graph API.
#[derive(Debug, Clone)]
pub struct GraphSettings {
    /// `https://graph.facebook.com`, or the sandbox on this machine.
    pub base_url: String,
    /// `v26.0`. A version lives for about two years.
    pub api_version: String,
    /// Of a system user or a page, with `leads_retrieval`.
    pub access_token: SecretString,
    /// The app's secret.
    pub app_secret: SecretString,
    /// The longest that one call may take, all told.
    pub timeout: Duration,
}

/// Why a client cannot be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum GraphSettingsError {
    /// The base URL is none, or would carry the token in clear over a network.
    #[error("Meta's base URL must be https://host, or http://127.0.0.1:port for a sandbox on this machine")]
    BaseUrl,
    /// The API version is not in Meta's form.
    #[error("Meta's API version must look like v26.0")]
    ApiVersion,
    /// The token cannot stand in a header.
    #[error("Meta's access token is empty or has characters that no token has")]
    AccessToken,
    /// TLS is not to be had.
    #[error("no HTTP client: {0}; are root certificates installed (Debian: ca-certificates)?")]
    Client(#[from] reqwest::Error),
}

/// Fetches leads. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct GraphApi {
    client: Client,
    base: Url,
    authorization: HeaderValue,
    proof: String,
}

impl GraphApi {
    /// Checks the settings and connects to nothing yet.
    pub fn new(settings: &GraphSettings) -> Result<Self, GraphSettingsError> {
        let mut base = http::base_url(&settings.base_url).ok_or(GraphSettingsError::BaseUrl)?;
        if !is_version(&settings.api_version) {
            return Err(GraphSettingsError::ApiVersion);
        }
        base.path_segments_mut()
            .map_err(|()| GraphSettingsError::BaseUrl)?
            .pop_if_empty()
            .push(&settings.api_version);
        let authorization = http::bearer(&settings.access_token).ok_or(GraphSettingsError::AccessToken)?;
        let token = settings.access_token.expose_secret();
        let key = hmac::Key::new(hmac::HMAC_SHA256, settings.app_secret.expose_secret().as_bytes());
        let proof = hex::encode(hmac::sign(&key, token.as_bytes()));
        Ok(Self { client: http::client(settings.timeout)?, base, authorization, proof })
    }

    async fn fetch(&self, leadgen_id: &str) -> Result<MetaLead, ProviderError> {
        let url = self.lead_url(leadgen_id)?;
        let request = self.client.get(url).header(AUTHORIZATION, self.authorization.clone());
        let response = request.send().await.map_err(|error| http::transport_failure(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match http::read_body(response, ANSWER_BYTES_MAX).await {
            // An error page that is too long or breaks off is still an error with a status.
            Err(_) if !status.is_success() => Vec::new(),
            body => body?,
        };
        if let Some(failure) = failures::classify(status, &headers, &body) {
            return Err(failure);
        }
        let lead = lead::parse(body).filter(|lead| lead.id == leadgen_id);
        lead.ok_or_else(|| {
            ProviderError::new(FailureKind::BadAnswer, "Meta's answer is not the lead asked for")
        })
    }

    /// Ids come from a webhook's body: what is no id must not become another path.
    fn lead_url(&self, leadgen_id: &str) -> Result<Url, ProviderError> {
        let plausible = |id: &str| {
            (1..=ID_CHARS_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let mut url = self.base.clone();
        let bad =
            || ProviderError::new(FailureKind::BadRequest, "this is no leadgen id: letters and digits only");
        if !plausible(leadgen_id) {
            return Err(bad());
        }
        url.path_segments_mut().map_err(|()| bad())?.push(leadgen_id);
        url.query_pairs_mut().append_pair("fields", lead::FIELDS).append_pair("appsecret_proof", &self.proof);
        Ok(url)
    }
}

impl MetaLeads for GraphApi {
    fn fetch_lead<'a>(
        &'a self,
        leadgen_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<MetaLead, ProviderError>> + Send + 'a>> {
        Box::pin(self.fetch(leadgen_id))
    }
}

fn is_version(text: &str) -> bool {
    let numbers = text.strip_prefix('v').and_then(|numbers| numbers.split_once('.'));
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    numbers.is_some_and(|(major, minor)| digits(major) && digits(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(base_url: &str, api_version: &str, token: &str) -> GraphSettings {
        GraphSettings {
            base_url: base_url.to_owned(),
            api_version: api_version.to_owned(),
            access_token: token.into(),
            app_secret: "secret".into(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn settings_that_would_leak_the_token_or_never_work_are_refused() {
        let good = [
            "https://graph.facebook.com",
            "http://127.0.0.1:4010",
            "http://localhost:4010/",
            "http://[::1]:1",
        ];
        for base in good {
            assert!(GraphApi::new(&settings(base, "v26.0", "t")).is_ok(), "{base}");
        }
        let bad =
            ["http://graph.facebook.com", "ftp://127.0.0.1", "graph.facebook.com", "https://a/?x=1", ""];
        for base in bad {
            let refused = GraphApi::new(&settings(base, "v26.0", "t"));
            assert!(matches!(refused.err(), Some(GraphSettingsError::BaseUrl)), "{base}");
        }
        for version in ["26.0", "v26", "v26.0/..", "", "v.0"] {
            let refused = GraphApi::new(&settings(good[0], version, "t"));
            assert!(matches!(refused.err(), Some(GraphSettingsError::ApiVersion)), "{version}");
        }
        for token in ["", " ", "a\nb"] {
            let refused = GraphApi::new(&settings(good[0], "v26.0", token));
            assert!(matches!(refused.err(), Some(GraphSettingsError::AccessToken)), "{token:?}");
        }
        assert!(!format!("{:?}", settings(good[0], "v26.0", "hush")).contains("hush"));
    }

    #[test]
    fn the_url_holds_no_token_and_only_ids_become_paths() {
        let api = GraphApi::new(&settings("https://graph.facebook.com", "v26.0", "hush")).unwrap();
        let url = api.lead_url("4440017").unwrap();
        assert_eq!(url.path(), "/v26.0/4440017");
        assert!(!url.as_str().contains("hush"));
        for id in ["", "../me", "1/2", "1?x", "%2e", &"1".repeat(65)] {
            assert_eq!(api.lead_url(id).unwrap_err().kind, FailureKind::BadRequest, "{id}");
        }
    }
}
