//! Bad rows of an import, mended one by one.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::imports::{self, MendError, Refusal};
use sira_domain::nouns::ImportId;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::catalogue::{Code, Text};
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::state::App;

/// Most values of one row: a file has no more columns.
const VALUES_MAX: usize = 200;
const HEADING: Text = Text {
    tr: "Dosyada bu başlıkta bir sütun yok. allowed alanına bakın.",
    en: "No column of the file has this heading. See allowed.",
};
const VALUES: Text = Text { tr: "1 ile 200 arası değer verin.", en: "Give 1 to 200 values." };
const ADVICE: [(&str, Text); 4] = [
    (
        "no_usable_contact",
        Text {
            tr: "Telefon da e-posta da okunamıyor: birini düzeltin.",
            en: "Neither a phone number nor an e-mail address can be read: mend one of them.",
        },
    ),
    (
        "too_many_columns",
        Text {
            tr: "Satırda başlıklardan çok değer var: bütün sütunları verin.",
            en: "The row has more values than there are headings: give every column.",
        },
    ),
    (
        "undecodable",
        Text {
            tr: "Okunamayan bir karakter var: o sütunu verin.",
            en: "A character cannot be read: give that column.",
        },
    ),
    (
        "row_too_large",
        Text {
            tr: "Satır çok büyük: bütün sütunları verin.",
            en: "The row is too large: give every column.",
        },
    ),
];

/// A value in the place of the one in the file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RowValue {
    /// The column's heading, as in the file.
    #[schema(example = "Telefon")]
    heading: String,
    /// What stands there from now on.
    #[schema(example = "+90 555 000 00 17")]
    value: String,
}

/// What is mended in a row.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MendRow {
    /// The other columns stay as in the file.
    values: Vec<RowValue>,
}

/// What became of a row.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowMended {
    line: i64,
    lead_id: Uuid,
    /// `created`, `joined` or `reopened`.
    effect: &'static str,
    message: Message,
}

/// Mends a bad row: it becomes a lead as if the file had said so. One that was mended before says what became of it.
#[utoipa::path(post, path = "/imports/{id}/rows/{line}/mend", operation_id = "mend_import_row", tag = "imports", request_body = MendRow,
    params(("id" = Uuid, Path, description = "The import"), ("line" = i64, Path, description = "Where the row begins in the file, as in the list of errors"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is a lead's enquiry", body = RowMended),
    (status = 404, description = "No such import, or no bad row at this line", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The import runs, or was taken back", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The row is still bad, a heading is unknown, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn mend_import_row(
    State(app): State<App>,
    PathOf((id, line)): PathOf<(Uuid, i64)>,
    once: Once<MendRow>,
) -> Result<Response, ApiError> {
    if !(1..=VALUES_MAX).contains(&once.body.values.len()) {
        return Err(ApiError::new(Code::InvalidBody).with(FieldError::body(
            "/values",
            "out_of_range",
            VALUES,
        )));
    }
    let values: Vec<_> =
        once.body.values.iter().map(|given| (given.heading.clone(), given.value.clone())).collect();
    let place = (ImportId::from_uuid(id), line);
    let row = imports::prepare_row(&app.cx.db, &app.cx.cipher, place, &values).await?;
    once.run(&app, StatusCode::OK, async |uow| {
        let mended = imports::settle_row(uow, &row).await?;
        let (lead_id, effect) = (mended.lead.uuid(), mended.effect);
        Ok(RowMended { line, lead_id, effect, message: message::ROW_MENDED })
    })
    .await
}

impl From<MendError> for ApiError {
    fn from(error: MendError) -> Self {
        let wrong = |error| Self::new(Code::InvalidBody).with(error);
        match error {
            MendError::NoBadRow => Code::NotFound.into(),
            MendError::UnknownColumn { place, known } => {
                let pointer = format!("/values/{place}/heading");
                wrong(FieldError::body(pointer, "unknown_heading", HEADING).allowing(known))
            }
            MendError::StillBad(Refusal { code, .. }) => {
                let text = ADVICE.iter().find(|(known, _)| *known == code).map_or(VALUES, |(_, text)| *text);
                wrong(FieldError::body("/values", code, text))
            }
            MendError::Import(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_advice() {
        for (code, _) in Refusal::ALL {
            assert!(ADVICE.iter().any(|(known, _)| *known == code), "{code}");
        }
    }
}
