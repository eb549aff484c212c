//! The HTTP layer: it authorises, writes one transaction, answers.
//!
//! [`router`] builds everything from an [`App`]; [`serve`] runs it. One file per resource; what all of them share
//! is here beside them: routes with their permissions, errors, cursors, extractors.
//!
//! **Invariant:** a route is only ever added with what it asks of its caller, and the router is not built when an
//! operation lacks that.

mod audit;
pub mod auth;
mod calls;
pub mod catalogue;
mod cursor;
mod docs;
mod events;
mod extract;
mod health;
mod idempotent;
mod imports;
mod leads;
mod message;
mod notifications;
mod observe;
mod operations;
mod ops;
mod page;
mod problem;
mod queue;
mod reviews;
mod route;
mod serve;
pub mod settings;
mod sign_in;
mod sla;
mod state;
mod statuses;
mod timeline;
mod webhooks;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use sira_domain::identity::Permission;
use sira_domain::privacy::PrivacyError;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::Modify;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::UtoipaMethodRouterExt;
use utoipa_axum::routes;

use self::auth::Access;
pub use self::auth::keys::Secrets;
use self::catalogue::Code;
pub use self::problem::ApiError;
use self::route::{BEARER, Routes, TICKET};
pub use self::route::{PERMISSION_EXTENSION, RouterError};
pub use self::serve::serve;
pub use self::settings::{MetaWebhook, Settings};
pub use self::state::{App, HttpState};

/// Largest body of a route that says nothing else.
const BODY_LIMIT: usize = 64 * 1024;

/// The document without its paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Sira", description = "Leads in, each to the right person at once, every promise kept. Errors are problem+json (RFC 9457); every operation names the permission it asks for in x-permission."),
    components(schemas(problem::Problem)),
    modifiers(&Schemes),
    tags(
        (name = "auth", description = "Signing in"),
        (name = "leads", description = "Leads of the caller's scope"),
        (name = "imports", description = "Leads from files: create, send the file, start, follow the operation"),
        (name = "calls", description = "Masked calls: no number is in any answer"),
        (name = "sla", description = "Promises about time"),
        (name = "events", description = "What happens, as it happens"),
        (name = "audit", description = "Who did what, and the proof of it"),
        (name = "operations", description = "What the machinery does"),
        (name = "webhooks", description = "Doors for providers"),
    )
)]
struct Document;

/// The ways to sign in.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let ticket =
            ApiKey::Query(ApiKeyValue::with_description(TICKET, "From /events/tickets: one use, one minute"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
        components.add_security_scheme(TICKET, SecurityScheme::ApiKey(ticket));
    }
}

/// The whole router.
///
/// # Errors
/// [`RouterError`] when an operation declares no permission, or the base path has another form; then the process
/// must not start.
pub fn router(app: App) -> Result<Router, RouterError> {
    let (router, document) = routes(&app.settings.base_path)?.finish()?;
    Ok(router
        .merge(docs::routes(document))
        .fallback(async || ApiError::new(Code::NotFound))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(app.clone(), observe::deadline))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app))
}

/// The document of the router mounted at this base path.
pub fn openapi(base_path: &str) -> Result<OpenApi, RouterError> {
    Ok(routes(base_path)?.finish()?.1)
}

fn routes(base_path: &str) -> Result<Routes, RouterError> {
    let well_formed = base_path.is_empty() || base_path.starts_with('/') && !base_path.ends_with('/');
    if !well_formed || base_path.contains(['{', '}', '?', '#', ' ']) {
        return Err(RouterError::BasePath(base_path.to_owned()));
    }
    let webhook = routes!(webhooks::meta::receive_meta_webhook)
        .layer(DefaultBodyLimit::max(webhooks::meta::BODY_LIMIT));
    let api = Routes::new(OpenApi::default())
        .add(Access::Public, routes!(sign_in::create_session))
        .add(Access::SignedIn, routes!(sign_in::get_me))
        .add(Access::Needs(Permission::ViewLeads), routes!(leads::list_leads))
        .add(Access::Needs(Permission::ViewLeads), routes!(leads::find::find_leads))
        .add(Access::Needs(Permission::CreateLeads), routes!(leads::create::create_lead))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::create_import, imports::list_imports))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::get_import))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::file::put_import_file))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::start_import))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::undo_import))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::rows::mend_import_row))
        .add(Access::Needs(Permission::ImportLeads), routes!(imports::file::get_import_errors))
        .add(Access::Needs(Permission::ImportLeads), routes!(operations::get_operation))
        .add(Access::Needs(Permission::ImportLeads), routes!(operations::cancel_operation))
        .add(Access::Needs(Permission::ViewLeads), routes!(leads::get_lead))
        .add(Access::Needs(Permission::EditLeads), routes!(leads::update_lead))
        .add(Access::Needs(Permission::ViewLeads), routes!(timeline::get_lead_timeline))
        .add(Access::Needs(Permission::EditLeads), routes!(timeline::create_note))
        .add(Access::Needs(Permission::CallLeads), routes!(calls::create_call))
        .add(Access::Needs(Permission::EditLeads), routes!(queue::complete_follow_up))
        .add(Access::Needs(Permission::RedistributeLeads), routes!(queue::redistribute_lead))
        .add(Access::Needs(Permission::RedistributeLeads), routes!(queue::correct_contact))
        .add(Access::Needs(Permission::ViewOperations), routes!(reviews::list_reviews))
        .add(Access::Needs(Permission::MergeLeads), routes!(reviews::merge_leads))
        .add(Access::Needs(Permission::MergeLeads), routes!(reviews::keep_leads_apart))
        .add(Access::Needs(Permission::MergeLeads), routes!(reviews::unmerge_leads))
        .add(Access::Needs(Permission::ViewLeads), routes!(calls::list_call_dispositions))
        .add(Access::Needs(Permission::ViewLeads), routes!(calls::get_call))
        .add(Access::Needs(Permission::CallLeads), routes!(calls::record_call_outcome))
        .add(Access::Needs(Permission::ViewExchanges), routes!(calls::list_call_exchanges))
        .add(Access::Needs(Permission::ViewAudit), routes!(audit::list_audit_events))
        .add(Access::Needs(Permission::ViewAudit), routes!(audit::get_audit_event_proof))
        .add(Access::Needs(Permission::ViewAudit), routes!(audit::get_audit_head))
        .add(Access::Needs(Permission::ViewAudit), routes!(audit::list_audit_checkpoints))
        .add(Access::Needs(Permission::ViewAudit), routes!(audit::get_audit_consistency))
        .add(Access::Needs(Permission::ViewLeads), routes!(statuses::list_statuses))
        .add(Access::Needs(Permission::ViewLeads), routes!(sla::list_overdue))
        .add(Access::Needs(Permission::ViewLeads), routes!(sla::count_overdue))
        .add(Access::Needs(Permission::ViewLeads), routes!(sla::list_sla_policies))
        .add(Access::Needs(Permission::ManageSla), routes!(sla::update_sla_policy))
        .add(Access::SignedIn, routes!(notifications::list_notifications))
        .add(Access::SignedIn, routes!(notifications::mark_notifications_read))
        .add(Access::Needs(Permission::ViewLeads), routes!(events::create_event_ticket))
        .add(Access::TicketOr(Permission::ViewLeads), routes!(events::stream_events))
        .add(Access::TicketOr(Permission::ViewOperations), routes!(ops::events::stream_operations))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::list_quarantined_events))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::quarantine::retry_quarantined_event))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::quarantine::correct_quarantined_event))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::engine::list_jobs))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::engine::get_job))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::jobs::retry_job))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::jobs::cancel_job))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::jobs::reschedule_job))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::workflows::cancel_workflow))
        .add(Access::Needs(Permission::ManageOperations), routes!(ops::workflows::retry_workflow))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::bulk::count_matching_jobs))
        .add(Access::Needs(Permission::ManageManyJobs), routes!(ops::bulk::act_on_many_jobs))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::bulk::get_bulk_act))
        .add(Access::Needs(Permission::ManageManyJobs), routes!(ops::bulk::stop_bulk_act))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::queues::list_job_queues))
        .add(Access::Needs(Permission::ManageQueues), routes!(ops::queues::pause_job_queue))
        .add(Access::Needs(Permission::ManageQueues), routes!(ops::queues::resume_job_queue))
        .add(Access::Needs(Permission::ManageQueues), routes!(ops::queues::limit_job_queue))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::workers::list_workers))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::workers::list_job_counters))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::gates::list_gates))
        .add(Access::Needs(Permission::ManageQueues), routes!(ops::gates::edit_gate))
        .add(Access::Needs(Permission::ManageQueues), routes!(ops::gates::reset_gate))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::schedules::list_schedules))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::schedules::get_schedule))
        .add(Access::Needs(Permission::ManageSchedules), routes!(ops::schedules::edit_schedule))
        .add(Access::Needs(Permission::ManageSchedules), routes!(ops::schedules::pause_schedule))
        .add(Access::Needs(Permission::ManageSchedules), routes!(ops::schedules::resume_schedule))
        .add(Access::Needs(Permission::ManageSchedules), routes!(ops::schedules::run_schedule))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::engine::list_workflows))
        .add(Access::Needs(Permission::ViewOperations), routes!(ops::engine::get_workflow));
    Ok(Routes::new(Document::openapi())
        .add(Access::Public, routes!(health::get_liveness))
        .add(Access::Public, routes!(health::get_readiness))
        .add(Access::LocalOr(Permission::ViewMetrics), routes!(health::get_metrics))
        .add(Access::LocalOr(Permission::ViewDocs), routes!(health::get_version))
        .add(Access::Public, routes!(docs::get_problem_page))
        .add(Access::Signature, routes!(webhooks::meta::confirm_meta_webhook))
        .add(Access::Signature, webhook)
        .add(Access::Signature, routes!(webhooks::telephony::receive_telephony_webhook))
        .nest(base_path, api))
}

impl From<PrivacyError> for ApiError {
    fn from(error: PrivacyError) -> Self {
        match error {
            PrivacyError::Database(error) => error.into(),
            // The provider's text names a file or an address, never a value.
            other => Self::internal(other),
        }
    }
}
