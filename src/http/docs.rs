//! What explains the API: the pages behind problem types, the OpenAPI document, the Swagger UI that works
//! offline.

use axum::Router;
use axum::extract::{Path, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use sira_domain::identity::Permission;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::auth::{Access, authorise};
use super::catalogue::Code;
use super::problem::ApiError;
use super::state::App;

/// Swagger UI is files of our own and inline styles; its answers may not load anything from elsewhere.
const CSP: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// What a kind of problem means and what to do about it, in Turkish and English.
#[utoipa::path(get, path = "/problems/{code}", operation_id = "get_problem_page", tag = "operations",
    params(("code" = String, Path, description = "The problem's stable code")),
    responses((status = 200, description = "The page", body = String, content_type = "text/plain")))]
pub async fn get_problem_page(Path(name): Path<String>) -> Result<Response, ApiError> {
    let entry = Code::of_name(&name).ok_or(Code::NotFound)?.entry();
    let (repeat_en, repeat_tr) = if entry.retryable {
        ("The same request may succeed later.", "Aynı istek daha sonra başarılı olabilir.")
    } else {
        ("Repeating the same request does not help.", "Aynı isteği yinelemek işe yaramaz.")
    };
    let page = format!(
        "{} (HTTP {})\n\n{}\n{}\n{}\n\n{}\n{}\n{}\n",
        entry.name,
        entry.status,
        entry.title.en,
        entry.detail.en,
        repeat_en,
        entry.title.tr,
        entry.detail.tr,
        repeat_tr,
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], page).into_response())
}

/// `/docs` and `/docs/openapi.json`, for users who may read them, and for peers on this machine where the settings
/// trust those.
pub fn routes(document: OpenApi) -> Router<App> {
    let guard =
        |request: Request, next: Next| authorise(Access::LocalOr(Permission::ViewDocs), request, next);
    let own_csp = |request: Request, next: Next| async move {
        let mut response = next.run(request).await;
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
        response
    };
    let ui: Router<App> = SwaggerUi::new("/docs").url("/docs/openapi.json", document).into();
    ui.layer(middleware::from_fn(own_csp)).layer(middleware::from_fn(guard))
}
