//! Extractors that refuse with a problem that says what to mend, and never repeat a value that was sent.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sira_domain::idempotency::KEY_CHARS_MAX;

use super::catalogue::{Code, Text};
use super::problem::{ApiError, FieldError, Place};

const UNKNOWN: Text = Text { tr: "Böyle bir alan yok.", en: "There is no such field." };
const MISSING: Text = Text { tr: "Bu alan zorunlu.", en: "This field is required." };
const WRONG: Text =
    Text { tr: "Değer beklenen biçimde değil.", en: "The value has not the expected form." };
const NUL: Text =
    Text { tr: "Değer NUL karakteri içeremez.", en: "The value must not contain the character NUL." };
/// Longest name of an unknown field that an answer repeats, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A JSON body, with the bytes it was read from.
pub struct ApiJson<T> {
    /// The value.
    pub value: T,
    /// What was sent.
    pub raw: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let raw = read_body(request, state).await?;
        let value = parse(&raw)?;
        Ok(Self { value, raw })
    }
}

/// The whole body within the route's limit.
pub async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.status().as_u16();
        if status == 413 { Code::BodyTooLarge.into() } else { Code::MalformedJson.into() }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/merge-patch+json"].iter().any(|json| essence.eq_ignore_ascii_case(json))
}

fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            let path = pointer(error.path());
            ApiError::new(Code::InvalidBody).with(explain(&error.inner().to_string(), |name| {
                Place::Body(name.map_or(path.clone(), |name| extend(&path, name)))
            }))
        } else {
            Code::MalformedJson.into()
        }
    })?;
    deserializer.end().map_err(|_| Code::MalformedJson)?;
    match find_nul(raw) {
        Some(at) => Err(ApiError::new(Code::InvalidBody).with(FieldError::body(at, "wrong_value", NUL))),
        None => Ok(value),
    }
}

/// Where a text with NUL stands, which PostgreSQL does not store. A raw one is no JSON, so there is one way to
/// write it.
fn find_nul(raw: &[u8]) -> Option<String> {
    if !raw.windows(6).any(|escape| escape == br"\u0000") {
        return None;
    }
    // The backslash may be an escaped one; the parser knows.
    let value: Value = serde_json::from_slice(raw).ok()?;
    find_nul_in(&value, String::new())
}

fn find_nul_in(value: &Value, pointer: String) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then_some(pointer),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, item)| find_nul_in(item, format!("{pointer}/{n}")))
        }
        Value::Object(fields) => {
            fields.iter().find_map(|(name, field)| find_nul_in(field, extend(&pointer, name)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// serde's texts may quote the value; what they name of ours or of the request's shape is kept, the rest is not.
fn explain(message: &str, place: impl Fn(Option<&str>) -> Place) -> FieldError {
    // A path may stand before the text, as in `limit: invalid digit`.
    let (path, text) =
        message.split_once(": ").filter(|(path, _)| !path.contains(' ')).unwrap_or(("", message));
    let name = |prefix: &str| {
        let name = text.strip_prefix(prefix)?.split('`').next()?;
        Some(name.chars().take(NAME_CHARS_MAX).filter(|c| !c.is_control()).collect::<String>())
    };
    let path = (!path.is_empty() && path.chars().count() <= NAME_CHARS_MAX).then_some(path);
    if let Some(name) = name("unknown field `") {
        FieldError::new(place(Some(&name)), "unknown_field", UNKNOWN)
    } else if let Some(name) = name("missing field `") {
        FieldError::new(place(Some(&name)), "missing_field", MISSING)
    } else {
        FieldError::new(place(path), "wrong_value", WRONG)
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => extend(&pointer, key),
        Segment::Enum { variant } => extend(&pointer, variant),
        Segment::Unknown => pointer,
    })
}

/// With RFC 6901's escapes. serde's path of an unknown field already ends with its name.
fn extend(pointer: &str, name: &str) -> String {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    let escaped = name.replace('~', "~0").replace('/', "~1");
    if pointer.rsplit('/').next() == Some(escaped.as_str()) && !pointer.is_empty() {
        return pointer.to_owned();
    }
    format!("{pointer}/{escaped}")
}

/// Query parameters; unknown ones are refused by the type's `deny_unknown_fields`.
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let message = std::error::Error::source(&rejection).map_or_else(String::new, innermost);
            ApiError::new(Code::InvalidQuery)
                .with(explain(&message, |name| Place::Query(name.unwrap_or_default().to_owned())))
        })?;
        refuse_nul(&parts.uri)?;
        Ok(Self(query.0))
    }
}

/// PostgreSQL stores no NUL. An address holds no raw one, so there is one way to write it.
fn refuse_nul(uri: &Uri) -> Result<(), ApiError> {
    if uri.query().is_none_or(|query| !query.contains("%00")) {
        return Ok(());
    }
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
    let name = pairs.into_iter().find(|(_, value)| value.contains('\0')).map(|(name, _)| name);
    let error = FieldError::query(name.unwrap_or_default(), "wrong_value", NUL);
    Err(ApiError::new(Code::InvalidQuery).with(error))
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What stands in the path's places; a text that is none of these is not found.
pub struct PathOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let places = Path::<T>::from_request_parts(parts, state).await;
        places.map(|Path(places)| Self(places)).map_err(|_| Code::NotFound.into())
    }
}

/// `Idempotency-Key`: required, 1 to 200 visible characters.
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let header = parts.headers.get("idempotency-key").ok_or(Code::IdempotencyKeyRequired)?;
        let key = header.to_str().unwrap_or_default();
        if (1..=KEY_CHARS_MAX).contains(&key.len()) {
            return Ok(Self(key.to_owned()));
        }
        let detail = Text {
            tr: "1 ile 200 arası görünür karakter.",
            en: "Give 1 to 200 visible ASCII characters.",
        };
        Err(ApiError::new(Code::InvalidHeader).with(FieldError::header(
            "Idempotency-Key",
            "wrong_value",
            detail,
        )))
    }
}

/// `If-Match` with one strong ETag of ours: required.
pub struct IfMatch(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let header = parts.headers.get(header::IF_MATCH).ok_or(Code::PreconditionRequired)?;
        let tag = header.to_str().unwrap_or_default().trim();
        let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')?.parse().ok());
        let detail =
            Text { tr: "Kaydın tek bir ETag değerini gönderin.", en: "Send the one ETag you have read." };
        version.map(Self).ok_or_else(|| {
            ApiError::new(Code::InvalidHeader).with(FieldError::header("If-Match", "wrong_value", detail))
        })
    }
}

/// The path as it came in, with its prefix.
pub struct OriginalPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for OriginalPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Original(address) = Original::from_request_parts(parts, state).await?;
        Ok(Self(address.split('?').next().unwrap_or_default().to_owned()))
    }
}

/// Path and query as they came in, for links.
pub struct Original(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Original {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let uri = OriginalUri::from_request_parts(parts, state).await;
        let uri = uri.map_err(|_| ApiError::internal("a request without its address"))?;
        Ok(Self(uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        inner: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        number: u8,
    }

    #[test]
    fn what_is_wrong_is_pointed_at_and_values_are_not_repeated() {
        for (body, expected) in [
            (r#"{"inner":[{"number":1,"secret/x":2}]}"#, ("/inner/0/secret~1x", "unknown_field")),
            (r#"{"inner":[{"number":1},{}]}"#, ("/inner/1/number", "missing_field")),
            (r#"{"inner":[{"number":"+90 555 000 00 17"}]}"#, ("/inner/0/number", "wrong_value")),
            ("{}", ("/inner", "missing_field")),
            ("7", ("", "wrong_value")),
        ] {
            let error = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidBody);
            let (pointer, code) = expected;
            assert_eq!(error.parts(), [(Place::Body(pointer.to_owned()), code)], "{body}");
        }
        assert_eq!(parse::<Outer>(b"{\"inner\":[]} x").unwrap_err().code(), Code::MalformedJson);
        assert_eq!(parse::<Outer>(b"{\"inner\":").unwrap_err().code(), Code::MalformedJson);
        assert_eq!(parse::<Outer>(b"\xff").unwrap_err().code(), Code::MalformedJson);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Texts {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        texts: Vec<String>,
    }

    #[test]
    fn nul_is_refused_however_it_is_written() {
        let error = parse::<Texts>(br#"{"texts":["a","b\u0000c"]}"#).unwrap_err();
        assert_eq!(error.code(), Code::InvalidBody);
        assert_eq!(error.parts(), [(Place::Body("/texts/1".to_owned()), "wrong_value")]);
        let escaped = br#"{"texts":["\\u0000", "\u00001" ]}"#;
        let error = parse::<Texts>(escaped).unwrap_err();
        assert_eq!(error.parts(), [(Place::Body("/texts/1".to_owned()), "wrong_value")]);
        assert!(parse::<Texts>(br#"{"texts":["\\u0000"]}"#).is_ok(), "a backslash and five characters");
        assert_eq!(parse::<Texts>(b"{\"texts\":[\"\0\"]}").unwrap_err().code(), Code::MalformedJson);
    }

    #[test]
    fn nul_in_a_query_is_refused_by_name() {
        let error = refuse_nul(&Uri::from_static("/x?a=1&filter%5Bkey%5D=b%00c")).unwrap_err();
        assert_eq!(error.code(), Code::InvalidQuery);
        assert_eq!(error.parts(), [(Place::Query("filter[key]".to_owned()), "wrong_value")]);
        assert!(refuse_nul(&Uri::from_static("/x?a=%2500")).is_ok());
        assert!(refuse_nul(&Uri::from_static("/x")).is_ok());
    }
}
