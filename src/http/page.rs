//! Pages of keyset lists: `{ data, page }` and the `Link` header.

use axum::Json;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::catalogue::{Code, Text};
use super::cursor::{Cursors, Direction, ListId};
use super::problem::{ApiError, FieldError};

/// Rows of a page when nobody says otherwise.
pub const LIMIT_DEFAULT: u16 = 50;
/// Most rows of a page.
pub const LIMIT_MAX: u16 = 200;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// How to go on.
    pub page: PageInfo,
}

/// How to go on from a page.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    /// Cursor of the page after this one.
    pub next_cursor: Option<String>,
    /// Cursor of the page before this one.
    pub prev_cursor: Option<String>,
    /// Whether there is a page after this one.
    pub has_more: bool,
    /// Rows of a page.
    pub limit: u16,
}

/// The query of a list without filters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Rows of a page: 1 to 200; 50 when not given.
    pub limit: Option<u16>,
    /// From `nextCursor` of a page.
    pub cursor: Option<String>,
}

/// A request for one page: which list, from where, how many.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The list that cursors are bound to.
    pub list: ListId,
    /// From where, and which way; `None` is the beginning.
    pub from: Option<(Direction, Vec<u8>)>,
    /// How many rows.
    pub limit: u16,
}

impl PageRequest {
    /// Checks the limit and opens the cursor.
    pub fn new(
        cursors: &Cursors,
        list: ListId,
        limit: Option<u16>,
        cursor: Option<&str>,
    ) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = Text { tr: "1 ile 200 arasında olmalı.", en: "Give a number from 1 to 200." };
            return Err(ApiError::new(Code::InvalidQuery).with(FieldError::query(
                "limit",
                "out_of_range",
                detail,
            )));
        }
        let from = cursor.map(|cursor| cursors.open(list, cursor)).transpose()?;
        Ok(Self { list, from, limit })
    }

    /// From where, in a list whose positions have so many bytes; `None` is the beginning.
    pub fn position<const N: usize>(&self) -> Result<Option<[u8; N]>, ApiError> {
        let position = |bytes: &[u8]| bytes.try_into().map_err(|_| ApiError::new(Code::CursorInvalid));
        self.from.as_ref().map(|(_, bytes)| position(bytes)).transpose()
    }

    /// From where, in a list that is ordered by time and id; `None` is the beginning.
    pub fn timed(&self) -> Result<Option<(DateTime<Utc>, Uuid)>, ApiError> {
        self.from.as_ref().map(|(_, bytes)| read_timed_position(bytes)).transpose()
    }

    /// Makes the page of a list that is only read onwards, of rows read with one row more than the limit.
    pub fn onwards<R>(
        &self,
        cursors: &Cursors,
        mut rows: Vec<R>,
        position: impl Fn(&R) -> Vec<u8>,
    ) -> (Vec<R>, PageInfo) {
        let limit = usize::from(self.limit);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(position);
        let info = PageInfo::of(self, cursors, next, None);
        (rows, info)
    }
}

impl PageInfo {
    /// Of a page whose store says where its neighbours begin.
    pub fn of(
        request: &PageRequest,
        cursors: &Cursors,
        next: Option<Vec<u8>>,
        prev: Option<Vec<u8>>,
    ) -> Self {
        let seal = |direction| move |position: Vec<u8>| cursors.seal(request.list, direction, &position);
        Self {
            has_more: next.is_some(),
            next_cursor: next.map(seal(Direction::Next)),
            prev_cursor: prev.map(seal(Direction::Previous)),
            limit: request.limit,
        }
    }
}

/// Bytes of a position that is a time and an id.
const TIMED_BYTES: usize = 24;

/// A position that is a time and an id.
pub fn timed_position(at: DateTime<Utc>, id: Uuid) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TIMED_BYTES);
    bytes.extend_from_slice(&at.timestamp_micros().to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

/// Reads what [`timed_position`] wrote.
pub fn read_timed_position(bytes: &[u8]) -> Result<(DateTime<Utc>, Uuid), ApiError> {
    let invalid = || ApiError::new(Code::CursorInvalid);
    let bytes: &[u8; TIMED_BYTES] = bytes.try_into().map_err(|_| invalid())?;
    let (micros, id) = bytes.split_first_chunk::<8>().ok_or_else(invalid)?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros)).ok_or_else(invalid)?;
    Ok((at, Uuid::from_slice(id).map_err(|_| invalid())?))
}

/// The answer with its `Link` header (RFC 8288). `path_and_query` is the request's own.
pub fn reply<T: Serialize>(path_and_query: &str, data: Vec<T>, page: PageInfo) -> Response {
    let link = links(path_and_query, &page);
    let mut response = Json(Page { data, page }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn links(path_and_query: &str, page: &PageInfo) -> Option<String> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let kept: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")).collect();
    let link = |cursor: &Option<String>, rel: &str| {
        let cursor = format!("cursor={}", cursor.as_deref()?);
        let query = kept.iter().copied().chain([cursor.as_str()]).collect::<Vec<_>>().join("&");
        Some(format!("<{path}?{query}>; rel=\"{rel}\""))
    };
    let all: Vec<String> =
        [link(&page.next_cursor, "next"), link(&page.prev_cursor, "prev")].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::*;

    #[test]
    fn reading_onwards_sees_every_row_once() {
        let cursors = Cursors::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
        let list = ListId::of(&["rows"]);
        for (total, limit) in [(0, 3), (1, 3), (3, 3), (7, 3), (9, 3), (10, 1)] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let request = PageRequest::new(&cursors, list, Some(limit), cursor.as_deref()).unwrap();
                let from = request
                    .from
                    .as_ref()
                    .map_or(0, |(_, bytes)| 1 + u32::from_be_bytes(bytes.as_slice().try_into().unwrap()));
                let read: Vec<u32> = (from..total).take(usize::from(limit) + 1).collect();
                let (rows, info) = request.onwards(&cursors, read, |row| row.to_be_bytes().to_vec());
                seen.extend(rows);
                assert_eq!(info.has_more, info.next_cursor.is_some());
                cursor = info.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, (0..total).collect::<Vec<_>>(), "{total} by {limit}");
        }
    }

    #[test]
    fn links_keep_the_filters_and_replace_the_cursor() {
        let page =
            PageInfo { next_cursor: Some("bbb".to_owned()), prev_cursor: None, has_more: true, limit: 50 };
        assert_eq!(
            links("/api/v1/leads?filter%5Bstatus%5D=new&cursor=aaa&limit=5", &page).unwrap(),
            "</api/v1/leads?filter%5Bstatus%5D=new&limit=5&cursor=bbb>; rel=\"next\""
        );
    }
}
