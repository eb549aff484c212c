//! `/events`: what happens in the caller's scope, as it happens, over server-sent events; and the tickets that open a
//! stream where no header can be sent.
//!
//! **Invariant:** a stream carries ids, codes, states and numbers, and nothing that is out of its user's scope.

pub mod feed;
pub mod listener;
pub mod places;
mod stream;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response, Sse};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use sira_domain::live;
use utoipa::{IntoParams, ToSchema};

use self::feed::Feed;
use self::listener::Listener;
use self::places::Full;
use self::stream::EventStream;
use super::auth::Caller;
use super::catalogue::{Code, Text};
use super::extract::ApiQuery;
use super::problem::{ApiError, FieldError, Place, Problem};
use super::state::App;

/// When a stream that found no place may be tried again.
const PLACE_RETRY: Duration = Duration::from_secs(10);
/// When a stream that found no running hub may be tried again.
const HUB_RETRY: Duration = Duration::from_secs(2);
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Tells nginx, and who does as it does, to pass a stream on at once.
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// A ticket for one stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventTicket {
    /// For `?ticket=`; needs no escaping.
    ticket: String,
    /// Seconds in which it must be used.
    expires_in: i64,
}

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// In the document it is a way to sign in.
    #[param(ignore)]
    #[expect(dead_code, reason = "it is redeemed before the handler runs")]
    ticket: Option<String>,
    /// The id that was received last, for clients that cannot send `Last-Event-ID`; the header is what counts.
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

/// A ticket that opens one stream of the caller's. It is good for one use and for a minute, so that an address with a
/// ticket in it, which logs and histories keep, opens nothing later.
///
/// Takes no `Idempotency-Key`: the answer to a repeated request would have to be stored, and that answer is a
/// credential. Repeat it freely; a ticket that nobody uses ends by itself.
#[utoipa::path(post, path = "/events/tickets", operation_id = "create_event_ticket", tag = "events", responses(
    (status = 200, description = "A ticket", body = EventTicket),
    (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_event_ticket(
    State(app): State<App>,
    Caller(user): Caller,
) -> Result<Json<EventTicket>, ApiError> {
    let mut uow = app.cx.begin(user.actor()).await?;
    let ticket = live::create_ticket(&mut uow, user.id).await?;
    uow.commit().await?;
    Ok(Json(EventTicket { ticket, expires_in: live::TICKET_LIFETIME.num_seconds() }))
}

/// What happens to leads of the caller's scope, as server-sent events. Sign in by the `Authorization` header or by a
/// ticket.
///
/// The ids are one sequence without a gap, given after the commit. The stream begins with `hello`
/// (`{ serverTime, seq }`); then each event comes with its id, its name and JSON, as in
/// `lead.assigned { leadId, owner }`: load what it names, or mark it as changed. At least every 15 seconds comes
/// `heartbeat { serverTime, seq }`, whose id moves on even if nothing was for the caller.
///
/// Come again with `Last-Event-ID` (or `lastEventId`) and get what was missed, then what happens. Events are kept for
/// a day. Where what was missed is not to be had, or is too much, comes `resync { seq }`: load anew what is shown, then
/// go on. The stream of a client that reads too slowly ends after a `resync`. It also ends when its user is disabled
/// or gets another role or team, and when the process stops. A ticket is used up by then: come again with a new one.
#[utoipa::path(get, path = "/events", operation_id = "stream_events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<i64>, Header, description = "The id that was received last")), responses(
    (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
    (status = 400, description = "The id is none", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "Neither signed in nor a good ticket", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "The caller has too many open streams", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "This process has too many open streams, or has just begun", body = Problem, content_type = "application/problem+json"),
))]
pub async fn stream_events(
    State(app): State<App>,
    Caller(user): Caller,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Response, ApiError> {
    let from = last_event_id(&headers, query.last_event_id.as_deref())?;
    let settings = &app.settings;
    let place = app.places.take(user.id, settings.streams_per_user_max, settings.streams_max)?;
    let subscription = app.live.subscribe().await;
    let subscription = subscription.ok_or_else(|| {
        ApiError::new(Code::Unavailable)
            .retry_after(HUB_RETRY)
            .because("the hub of live updates is not there")
    })?;
    let listener = Listener::new(user, place);
    let stream = EventStream::open(app.clone(), listener, from, subscription).await?;
    Ok(streamed(stream))
}

/// As server-sent events that nobody keeps or holds up.
pub fn streamed(feed: impl Feed) -> Response {
    let mut response = Sse::new(feed.into_stream()).into_response();
    let (no_buffering, no) = NO_BUFFERING;
    response.headers_mut().insert(no_buffering, no);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The id that the client had last. An `EventSource` that comes again by itself sends the newer one in the header, and
/// its old address.
fn last_event_id(headers: &HeaderMap, parameter: Option<&str>) -> Result<Option<i64>, ApiError> {
    let detail = Text { tr: "Son alınan olayın numarası.", en: "Give the id that you received last." };
    let read = |text: &str| text.parse().ok().filter(|id: &i64| *id >= 0);
    if let Some(header) = headers.get(LAST_EVENT_ID).filter(|header| !header.is_empty()) {
        let id = header.to_str().ok().and_then(read).ok_or_else(|| {
            ApiError::new(Code::InvalidHeader).with(FieldError::header(LAST_EVENT_ID, "wrong_value", detail))
        })?;
        return Ok(Some(id));
    }
    let Some(text) = parameter.filter(|text| !text.is_empty()) else { return Ok(None) };
    let id = read(text).ok_or_else(|| {
        let place = Place::Query("lastEventId".to_owned());
        ApiError::new(Code::InvalidQuery).with(FieldError::new(place, "wrong_value", detail))
    })?;
    Ok(Some(id))
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        match full {
            Full::User => Self::new(Code::TooManyStreams).retry_after(PLACE_RETRY),
            Full::Process => {
                Self::new(Code::Unavailable).retry_after(PLACE_RETRY).because("too many streams")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_comes_before_the_parameter_and_both_are_numbers() {
        let read = |header: Option<&'static str>, parameter| {
            let headers = header
                .map(|value| (HeaderName::from_static("last-event-id"), HeaderValue::from_static(value)));
            last_event_id(&headers.into_iter().collect(), parameter).map_err(|error| error.code())
        };
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some(""), Some("")), Ok(None));
        assert_eq!(read(None, Some("0")), Ok(Some(0)));
        assert_eq!(read(Some("7"), Some("3")), Ok(Some(7)));
        assert_eq!(read(Some("7"), Some("junk")), Ok(Some(7)));
        for bad in ["-1", "1.5", "junk", "9223372036854775808"] {
            assert_eq!(read(Some(bad), Some("3")), Err(Code::InvalidHeader), "{bad}");
            assert_eq!(read(None, Some(bad)), Err(Code::InvalidQuery), "{bad}");
        }
    }
}
