//! The file of an import on its way in, and the list of its bad rows on its way out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, header};
use serde::Serialize;
use sira_domain::imports::{self, BadRow, Format, Import, PAGE_MAX, Unreadable, Upload, UploadError};
use sira_domain::ingestion::answers::Question;
use sira_domain::nouns::ImportId;
use sira_domain::privacy::Subject;
use sira_kernel::{EmailAddress, PersonName, PhoneNumber, mask_contacts};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ImportView, view};
use crate::http::auth::Caller;
use crate::http::catalogue::Code;
use crate::http::extract::PathOf;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// Rows that are shown before an import is started.
const PREVIEW_ROWS: usize = 5;

/// What a file is, before any of it becomes a lead.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChecked {
    import: ImportView,
    /// The first rows, masked.
    preview: Vec<Vec<String>>,
    message: Message,
}

/// Takes in the file of an import, as it is, in the body. Encoding and delimiter are found out. Sent again before the start,
/// it takes the former file's place; one that breaks off changes nothing.
#[utoipa::path(put, path = "/imports/{id}/file", operation_id = "put_import_file", tag = "imports",
    params(("id" = uuid::Uuid, Path, description = "The import")),
    request_body(content = Vec<u8>, content_type = "text/csv"), responses(
    (status = 200, description = "The file is here and can be read", body = FileChecked),
    (status = 404, description = "No such import", body = Problem, content_type = "application/problem+json"),
    (status = 408, description = "The file stopped coming", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It was started", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "It is larger than 2 GiB", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "It is no table: the code says what it is instead", body = Problem, content_type = "application/problem+json"),
))]
pub async fn put_import_file(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
    request: Request,
) -> Result<Response, ApiError> {
    let id = ImportId::from_uuid(id);
    let mut upload = Upload::begin(&app.cx.db, &app.cx.cipher, user.actor(), id).await?;
    let mut body = request.into_body().into_data_stream();
    // The whole may take long; each part of it may not.
    let patience = app.settings.request_timeout;
    while let Some(part) = tokio::time::timeout(patience, body.next()).await.map_err(|_| Code::Timeout)? {
        upload.write(&part.map_err(|_| Code::Timeout)?).await?;
    }
    let (import, format) = upload.finish().await?;
    let key = app.cx.cipher.key(Subject::Import(id)).await?;
    let preview = preview(&import, &format);
    Ok(Json(FileChecked { import: view(&key, import)?, preview, message: message::IMPORT_CHECKED })
        .into_response())
}

/// The first rows as they may be shown: contacts and names masked, and of what is not known to be harmless the first letter.
fn preview(import: &Import, format: &Format) -> Vec<Vec<String>> {
    let mask = |question: Option<Question>, text: &str| match question {
        _ if text.is_empty() => String::new(),
        Some(Question::Phone) => {
            PhoneNumber::parse(text, &import.region).map_or_else(|_| "***".to_owned(), |phone| phone.masked())
        }
        Some(Question::Email) => {
            EmailAddress::parse(text).map_or_else(|_| "***".to_owned(), |email| email.masked())
        }
        // A column may be taken for what it is not.
        Some(Question::Country | Question::Language | Question::AcquiredAt) => mask_contacts(text),
        _ => PersonName::parse(text).map_or_else(String::new, |name| name.masked()),
    };
    let row = |fields: &Vec<String>| -> Vec<String> {
        import.mapping.iter().zip(fields).map(|(question, text)| mask(*question, text)).collect()
    };
    format.sample.iter().take(PREVIEW_ROWS).map(row).collect()
}

/// The rows that could not become leads, as CSV: line, column, code and what to do. What the rows say is not in it.
#[utoipa::path(get, path = "/imports/{id}/errors", operation_id = "get_import_errors", tag = "imports",
    params(("id" = uuid::Uuid, Path, description = "The import")), responses(
    (status = 200, description = "One line for each bad row", body = String, content_type = "text/csv"),
    (status = 404, description = "No such import", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_import_errors(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
) -> Result<Response, ApiError> {
    let id = ImportId::from_uuid(id);
    imports::get(&mut *app.cx.db.read().await?, id).await?;
    let pages = stream::try_unfold(Some(0), move |after| {
        let app = app.clone();
        async move {
            let Some(after) = after else { return Ok::<_, sqlx::Error>(None) };
            let rows = imports::list_bad(&mut *app.cx.db.read().await?, id, after, PAGE_MAX).await?;
            let next = rows.last().filter(|_| rows.len() == usize::from(PAGE_MAX)).map(|row| row.line);
            Ok(Some((rows.iter().map(BadRow::csv_line).collect::<String>(), next)))
        }
    });
    let heading = stream::once(async { Ok(BadRow::CSV_HEADING.to_owned()) });
    let mut response = Body::from_stream(heading.chain(pages).into_stream()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = format!("attachment; filename=\"import-{id}-errors.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(ApiError::internal)?);
    Ok(response)
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge => Code::FileTooLarge.into(),
            UploadError::Import(error) => error.into(),
            UploadError::File(what) => match what {
                Unreadable::Empty => Code::FileEmpty,
                Unreadable::NoRows => Code::FileWithoutRows,
                Unreadable::Spreadsheet => Code::FileIsSpreadsheet,
                Unreadable::Compressed => Code::FileIsCompressed,
                Unreadable::Document => Code::FileIsDocument,
                Unreadable::Binary => Code::FileIsBinary,
                Unreadable::NoHeadings => Code::FileWithoutHeadings,
                Unreadable::TooManyColumns => Code::FileHasTooManyColumns,
            }
            .into(),
        }
    }
}
