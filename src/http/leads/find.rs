//! Finding a person's lead by name, number or address. By POST: what is known of a person does not belong into an address,
//! which is logged on its way.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sira_domain::leads::Filter;
use sira_domain::leads::search::Person;
use sira_kernel::{EmailAddress, PersonName, PhoneNumber};
use utoipa::ToSchema;

use super::body::{EMAIL, PHONE, checked};
use super::view::LeadSummary;
use super::{SORT, read_page};
use crate::http::auth::Caller;
use crate::http::catalogue::Text;
use crate::http::cursor::ListId;
use crate::http::extract::ApiJson;
use crate::http::page::{Page, PageRequest};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::state::App;

const WORDS: Text =
    Text { tr: "En az iki harfli bir ad yazın.", en: "Write a name of at least two letters." };
const NOTHING: Text =
    Text { tr: "Ad, telefon ya da e-posta verin.", en: "Give a name, a phone number or an e-mail address." };

/// What is known of the person; all of it must be theirs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindLeads {
    /// One or more whole words of the name, in any order and spelling of Turkish letters.
    #[schema(example = "ayse yilmaz")]
    name: Option<String>,
    /// With its country code, or national of the configured region.
    #[schema(example = "+90 555 000 00 17")]
    phone: Option<String>,
    #[schema(example = "ayse@example.com")]
    email: Option<String>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` or `prevCursor` of a page of the same person.
    cursor: Option<String>,
}

impl FindLeads {
    fn person(&self, app: &App) -> Result<Person, ApiError> {
        let mut wrong = Vec::new();
        let name = checked(self.name.clone(), "/name", WORDS, &mut wrong, |raw| {
            PersonName::parse(raw).filter(|name| !name.search_tokens().is_empty())
        });
        let phone = checked(self.phone.clone(), "/phone", PHONE, &mut wrong, |raw| {
            PhoneNumber::parse(raw, &app.cx.settings.phone_region).ok()
        });
        let email =
            checked(self.email.clone(), "/email", EMAIL, &mut wrong, |raw| EmailAddress::parse(raw).ok());
        let person = Person::new(&app.cx.cipher, name.as_ref(), phone.as_ref(), email.as_ref());
        if wrong.is_empty() && person.is_empty() {
            wrong.push(FieldError::body("/name", "missing_field", NOTHING));
        }
        ApiError::check(wrong)?;
        Ok(person)
    }
}

/// Leads of the caller's scope that are of this person, newest first; masked. Finds nothing outside of the scope.
#[utoipa::path(post, path = "/leads/search", operation_id = "find_leads", tag = "leads", request_body = FindLeads, responses(
    (status = 200, description = "A page", body = Page<LeadSummary>),
    (status = 400, description = "The body is not JSON, or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Nothing to look for, or it cannot be read", body = Problem, content_type = "application/problem+json"),
))]
pub async fn find_leads(
    State(app): State<App>,
    Caller(user): Caller,
    body: ApiJson<FindLeads>,
) -> Result<Json<Page<LeadSummary>>, ApiError> {
    let (scope, asked) = (user.scope(), body.value);
    let filter = Filter { person: asked.person(&app)?, ..Filter::default() };
    // Of keyed hashes: a cursor says nothing about the person.
    let list = ListId::of(&["/leads/search", &format!("{filter:?}"), SORT, &scope.fingerprint()]);
    let request = PageRequest::new(&app.cursors, list, asked.limit, asked.cursor.as_deref())?;
    let (data, page) = read_page(&app, scope, &filter, &request).await?;
    Ok(Json(Page { data, page }))
}
