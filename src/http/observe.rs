//! What wraps every request: its trace, its log line, its metrics, its deadline; and the finished form of every
//! error.
//!
//! **Invariant:** a log line names the route's template, never the address itself: addresses hold what people
//! type.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sira_kernel::TraceParent;

use super::catalogue::{self, Code, Language};
use super::problem::{ApiError, PROBLEM_JSON};
use super::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Nothing is kept by caches, framed, sniffed, or loaded from an answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The end of the path that takes files.
const UPLOAD: &str = "/imports/{id}/file";

/// The outermost layer.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let parent = parent(request.headers());
    let trace_id = parent.trace_id();
    let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = catalogue::language(accepted);
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = matched.unwrap_or_else(|| "unmatched".to_owned());
    let method = method_label(request.method());
    let span =
        tracing::info_span!("http.request", http.method = method, http.route = %route, trace.id = %trace_id);
    request.extensions_mut().insert(app);
    let started = Instant::now();
    let answered = async {
        let answer = next.run(request).await;
        // Anybody can send these, as many as they like.
        let unsigned =
            answer.extensions().get::<ApiError>().is_some_and(|error| error.code() == Code::SignatureInvalid);
        let mut response = finish(answer, language, &trace_id);
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        let duration_ms = elapsed.as_millis() as u64;
        if unsigned {
            tracing::debug!(http.status = status, duration_ms, "request answered");
        } else {
            tracing::info!(http.status = status, duration_ms, "request answered");
        }
        let labels =
            [("method", method.to_owned()), ("route", route.clone()), ("status", status.to_string())];
        metrics::counter!("sira_http_requests_total", &labels).increment(1);
        metrics::histogram!("sira_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
        for (name, value) in HEADERS {
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        if let Ok(value) = HeaderValue::from_str(&trace_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    };
    parent.instrument(span, answered).await
}

/// Ends a request that takes too long. What it had not committed did not happen.
pub async fn deadline(State(app): State<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let matched = request.extensions().get::<MatchedPath>();
    // A file may take long; its handler lets no part of it take long.
    if matched.is_some_and(|path| path.as_str().ends_with(UPLOAD)) {
        return Ok(next.run(request).await);
    }
    let answer = tokio::time::timeout(app.settings.request_timeout, next.run(request)).await;
    answer.map_err(|_| Code::Timeout.into())
}

/// The answer to a request whose handler panicked.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    // The payload may hold anything, so it is not looked at; the panic hook has named the place.
    ApiError::internal("the handler panicked").into_response()
}

/// Gives an error its document. A bare status, as the framework answers with, gets the one of that status.
fn finish(mut response: Response, language: Language, trace_id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    let content_type = content_type.as_deref();
    let error = response.extensions_mut().remove::<ApiError>();
    // Readiness answers 503 with a document of its own; whatever else is JSON was meant as well.
    let meant = [PROBLEM_JSON.as_bytes(), b"application/json"].iter().any(|json| content_type == Some(json));
    if error.is_none() && meant {
        return response;
    }
    let error = error.unwrap_or_else(|| {
        let bare = ApiError::new(Code::of_status(status.as_u16()));
        match response.headers_mut().remove(header::ALLOW) {
            Some(allow) => bare.header(header::ALLOW, allow),
            None => bare,
        }
    });
    let code = error.code().entry().name;
    if status.is_server_error() {
        tracing::error!(code, cause = error.cause().unwrap_or("none given"), "request failed");
    } else {
        tracing::debug!(code, "request refused");
    }
    error.render(language, trace_id)
}

/// The caller's place in its trace, or the beginning of a new one.
fn parent(headers: &HeaderMap) -> TraceParent {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
    given.unwrap_or_else(TraceParent::begin)
}

/// Bounded, because clients may send any word as a method.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_when_it_is_one() {
        let of = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(given).unwrap());
            parent(&headers).trace_id()
        };
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(of(&format!("00-{id}-b7ad6b7169203331-01")), id);
        for bad in ["", "junk", "00-0af7-b7-01", &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))] {
            assert_ne!(of(bad), id);
            assert_eq!(of(bad).len(), 32);
        }
    }
}
