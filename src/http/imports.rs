//! Leads from files: a small POST creates an import, the file follows in a PUT, a POST starts it, and an operation tells
//! how far it is.

pub mod file;
pub mod rows;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sira_domain::imports::{self, Counts, Import, ImportError, NewImport};
use sira_domain::ingestion::answers::Question;
use sira_domain::nouns::ImportId;
use sira_domain::privacy::{DataKey, Subject};
use utoipa::ToSchema;
use uuid::Uuid;

use super::catalogue::{Code, Text};
use super::cursor::ListId;
use super::extract::{ApiQuery, Original, PathOf};
use super::idempotent::Once;
use super::message::{self, Message};
use super::page::{self, Page, PageQuery, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::queue::Nothing;
use super::state::App;

/// Longest name of a file, in characters.
const NAME_CHARS_MAX: usize = 200;
const NAME: Text = Text { tr: "1 ile 200 karakter arasında olmalı.", en: "Give 1 to 200 characters." };
const ZONE: Text = Text {
    tr: "Bilinmeyen saat dilimi. Örnek: Europe/Istanbul.",
    en: "No such time zone. As in Europe/Istanbul.",
};
const COLUMNS: Text = Text {
    tr: "Dosyadaki her sütun için bir değer verin.",
    en: "Give one value for each column of the file.",
};
const FIELD: Text = Text { tr: "Bilinmeyen alan adı.", en: "There is no field of this name." };

/// A file that is to come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CreateImport {
    /// The file's name.
    #[schema(example = "leads.csv")]
    file_name: String,
    /// The zone in which times without one are meant; an IANA name.
    #[serde(default = "istanbul")]
    #[schema(example = "Europe/Istanbul")]
    time_zone: String,
}

fn istanbul() -> String {
    "Europe/Istanbul".to_owned()
}

/// What each column is taken for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StartImport {
    /// A field for each column in the file's order, null for one that is kept as an answer; as found when left out.
    mapping: Option<Vec<Option<String>>>,
}

/// An import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportView {
    id: Uuid,
    /// `awaiting_file`, `checked`, `running`, `done`, `failed`, `cancelled`, `undoing` or `undone`.
    state: &'static str,
    file_name: String,
    time_zone: String,
    bytes: i64,
    encoding: Option<String>,
    delimiter: Option<String>,
    columns: Vec<ColumnView>,
    rows: RowsView,
    /// Why it failed.
    failure: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// A column of a file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnView {
    heading: String,
    /// The field that it is taken for; null: kept as an answer.
    field: Option<&'static str>,
}

/// What became of the rows.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowsView {
    done: i64,
    #[serde(flatten)]
    counts: CountsView,
}

/// How many came to what.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountsView {
    created: i64,
    joined: i64,
    reopened: i64,
    bad: i64,
    /// Leads that were taken back.
    removed: i64,
    /// Leads that stayed when the import was undone.
    kept: i64,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { created, joined, reopened, bad, removed, kept } = counts;
        Self { created, joined, reopened, bad, removed, kept }
    }
}

/// An import that was created, and where its file goes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportCreated {
    id: Uuid,
    /// PUT the file here.
    file_url: String,
    message: Message,
}

/// Something that goes on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationBegun {
    /// The operation to follow.
    pub operation_id: Uuid,
    /// Fit for a toast.
    pub message: Message,
}

/// Creates an import that waits for its file.
#[utoipa::path(post, path = "/imports", operation_id = "create_import", tag = "imports", request_body = CreateImport,
    params(("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "It waits for its file", body = ImportCreated),
    (status = 422, description = "A value is wrong, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_import(State(app): State<App>, once: Once<CreateImport>) -> Result<Response, ApiError> {
    let CreateImport { file_name, time_zone } = &once.body;
    if !(1..=NAME_CHARS_MAX).contains(&file_name.chars().count()) {
        return Err(ApiError::new(Code::InvalidBody).with(FieldError::body(
            "/fileName",
            "out_of_range",
            NAME,
        )));
    }
    let id = ImportId::new();
    let key = app.cx.cipher.create_key(Subject::Import(id), app.cx.clock.now()).await?;
    let new = NewImport {
        user: Some(once.user.id),
        name: file_name,
        region: &app.cx.settings.phone_region,
        time_zone,
    };
    once.run(&app, StatusCode::CREATED, async |uow| {
        imports::create(uow, &key, id, &new).await?;
        Ok(ImportCreated {
            id: id.uuid(),
            file_url: format!("{}/imports/{id}/file", app.settings.base_path),
            message: message::IMPORT_CREATED,
        })
    })
    .await
}

/// Imports, newest first.
#[utoipa::path(get, path = "/imports", operation_id = "list_imports", tag = "imports", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<ImportView>),
))]
pub async fn list_imports(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    let list = ListId::of(&["/imports"]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let before = request.timed()?;
    let before = before.map(|(at, id)| (at, ImportId::from_uuid(id)));
    let rows = imports::list(&mut *app.cx.db.read().await?, before, request.limit + 1).await?;
    let position = |row: &Import| page::timed_position(row.created_at, row.id.uuid());
    let (rows, info) = request.onwards(&app.cursors, rows, position);
    let subjects: Vec<Subject> = rows.iter().map(|row| Subject::Import(row.id)).collect();
    let keys = app.cx.cipher.keys(&subjects).await?;
    let views: Result<Vec<_>, ApiError> =
        rows.into_iter().zip(&keys).map(|(row, key)| view(key, row)).collect();
    Ok(page::reply(&address, views?, info))
}

/// An import: what its file is, what each column is taken for, and what became of its rows.
#[utoipa::path(get, path = "/imports/{id}", operation_id = "get_import", tag = "imports",
    params(("id" = Uuid, Path, description = "The import")), responses(
    (status = 200, description = "The import", body = ImportView),
    (status = 404, description = "No such import", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_import(State(app): State<App>, PathOf(id): PathOf<Uuid>) -> Result<Response, ApiError> {
    let import = imports::get(&mut *app.cx.db.read().await?, ImportId::from_uuid(id)).await?;
    let key = app.cx.cipher.key(Subject::Import(import.id)).await?;
    Ok(axum::Json(view(&key, import)?).into_response())
}

/// Lets the rows become leads. 202; follow the operation.
#[utoipa::path(post, path = "/imports/{id}/start", operation_id = "start_import", tag = "imports", request_body = StartImport,
    params(("id" = Uuid, Path, description = "The import"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 202, description = "It runs", body = OperationBegun, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "No such import", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has no file yet, or was started", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The mapping is wrong, or names no contact", body = Problem, content_type = "application/problem+json"),
))]
pub async fn start_import(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<StartImport>,
) -> Result<Response, ApiError> {
    let mapping = once.body.mapping.as_deref().map(read_mapping).transpose()?;
    let answer = once
        .run(&app, StatusCode::ACCEPTED, async |uow| {
            imports::start(uow, ImportId::from_uuid(id), mapping).await?;
            Ok(OperationBegun { operation_id: id, message: message::IMPORT_STARTED })
        })
        .await?;
    Ok(at_operation(&app, id, answer))
}

/// Takes back the leads that the import made, as far as nobody has worked on them. 202; follow the operation.
#[utoipa::path(post, path = "/imports/{id}/undo", operation_id = "undo_import", tag = "imports", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The import"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 202, description = "It is being undone", body = OperationBegun, headers(("Location" = String, description = "The operation"))),
    (status = 404, description = "No such import", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has not ended", body = Problem, content_type = "application/problem+json"),
))]
pub async fn undo_import(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    let answer = once
        .run(&app, StatusCode::ACCEPTED, async |uow| {
            imports::request_undo(uow, ImportId::from_uuid(id)).await?;
            Ok(OperationBegun { operation_id: id, message: message::IMPORT_UNDOING })
        })
        .await?;
    Ok(at_operation(&app, id, answer))
}

fn at_operation(app: &App, id: Uuid, mut answer: Response) -> Response {
    let location = format!("{}/operations/{id}", app.settings.base_path);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn read_mapping(mapping: &[Option<String>]) -> Result<Vec<Option<Question>>, ApiError> {
    let columns = mapping.iter().enumerate().map(|(place, field)| match field {
        None => Ok(None),
        Some(field) => Question::parse(field).map(Some).ok_or_else(|| {
            let error = FieldError::body(format!("/mapping/{place}"), "unknown_field", FIELD);
            ApiError::new(Code::InvalidBody).with(error.allowing(Question::codes()))
        }),
    });
    columns.collect()
}

fn view(key: &DataKey, import: Import) -> Result<ImportView, ApiError> {
    let headings = imports::headings(key, &import)?;
    let columns = headings.into_iter().zip(&import.mapping);
    Ok(ImportView {
        id: import.id.uuid(),
        state: import.state.code(),
        file_name: imports::name(key, &import)?,
        time_zone: import.time_zone,
        bytes: import.bytes,
        encoding: import.encoding,
        delimiter: import.delimiter,
        columns: columns
            .map(|(heading, field)| ColumnView { heading, field: field.map(Question::code) })
            .collect(),
        rows: RowsView { done: import.rows_done, counts: import.counts.into() },
        failure: import.failure,
        created_at: import.created_at,
        started_at: import.started_at,
        finished_at: import.finished_at,
    })
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        let wrong = |pointer: &str, code, text| {
            Self::new(Code::InvalidBody).with(FieldError::body(pointer, code, text))
        };
        match error {
            ImportError::NotFound => Code::NotFound.into(),
            ImportError::WrongState { .. } => Code::ImportWrongState.into(),
            ImportError::NoContactColumn => Code::NoContactColumn.into(),
            ImportError::WrongColumns { .. } => wrong("/mapping", "wrong_length", COLUMNS),
            ImportError::UnknownZone => wrong("/timeZone", "unknown_zone", ZONE),
            ImportError::Leads(error) => error.into(),
            ImportError::Commit(error) => error.into(),
            ImportError::Privacy(error) => error.into(),
            ImportError::Unreadable => Self::internal(error),
            ImportError::Database(error) => error.into(),
        }
    }
}
