//! Registration of routes: a route is only ever added together with what it asks of its caller.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::auth::{Access, authorise};
use super::state::App;

/// Where an operation publishes what it asks of its caller.
pub const PERMISSION_EXTENSION: &str = "x-permission";
/// The name of the bearer scheme in the document.
pub const BEARER: &str = "bearer";
/// The name of the ticket's scheme in the document, and of its query parameter.
pub const TICKET: &str = "ticket";

/// The router cannot be built; the process must not start.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// Operations without a declared permission.
    #[error("these operations declare no permission, so they are served to nobody: {}", .0.join(", "))]
    Undeclared(Vec<String>),
    /// Where the API is to be mounted.
    #[error("http.base_path must be empty, or start with / and not end with one: {0:?}")]
    BasePath(String),
}

/// Routes with their document.
pub struct Routes(OpenApiRouter<App>);

impl Routes {
    /// No routes yet.
    pub fn new(document: OpenApi) -> Self {
        Self(OpenApiRouter::with_openapi(document))
    }

    /// Adds operations that all ask the same of their caller.
    #[must_use]
    pub fn add(self, access: Access, route: UtoipaMethodRouter<App>) -> Self {
        let (schemas, mut paths, methods) = route;
        for (_, operation) in paths.paths.values_mut().flat_map(operations_mut) {
            declare(operation, access);
        }
        let guard = move |request: Request, next: Next| authorise(access, request, next);
        Self(self.0.routes((schemas, paths, methods.route_layer(middleware::from_fn(guard)))))
    }

    /// Mounts other routes below a path; an empty path merges them.
    #[must_use]
    pub fn nest(self, path: &str, other: Self) -> Self {
        Self(if path.is_empty() { self.0.merge(other.0) } else { self.0.nest(path, other.0) })
    }

    /// The router and its document.
    ///
    /// # Errors
    /// [`RouterError::Undeclared`] when an operation got in without a declared permission.
    pub fn finish(self) -> Result<(Router<App>, OpenApi), RouterError> {
        let (router, document) = self.0.split_for_parts();
        check_declared(&document)?;
        Ok((router, document))
    }
}

/// Whether every operation of the document declares its permission.
pub fn check_declared(document: &OpenApi) -> Result<(), RouterError> {
    let declared = |operation: &Operation| {
        operation.extensions.as_ref().is_some_and(|all| all.contains_key(PERMISSION_EXTENSION))
    };
    let mut document = document.clone();
    let undeclared: Vec<String> = document
        .paths
        .paths
        .iter_mut()
        .flat_map(|(path, item)| {
            operations_mut(item).map(move |(method, operation)| (path, method, operation))
        })
        .filter(|(_, _, operation)| !declared(operation))
        .map(|(path, method, _)| format!("{method} {path}"))
        .collect();
    if undeclared.is_empty() { Ok(()) } else { Err(RouterError::Undeclared(undeclared)) }
}

fn declare(operation: &mut Operation, access: Access) {
    let declared = ExtensionsBuilder::new().add(PERMISSION_EXTENSION, access.published()).build();
    match &mut operation.extensions {
        Some(extensions) => extensions.merge(declared),
        none => *none = Some(declared),
    }
    if access.takes_token() {
        let one = |scheme: &str| SecurityRequirement::new(scheme, Vec::<String>::new());
        let ticket = access.takes_ticket().then(|| one(TICKET));
        operation.security = Some(std::iter::once(one(BEARER)).chain(ticket).collect());
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("OPTIONS", &mut item.options),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
        ("TRACE", &mut item.trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::OperationBuilder;
    use utoipa::openapi::{HttpMethod, PathsBuilder};

    use super::*;

    #[test]
    fn an_operation_without_a_permission_stops_the_boot() {
        let item = PathItem::new(HttpMethod::Post, OperationBuilder::new().build());
        let mut document = OpenApi::default();
        document.paths = PathsBuilder::new().path("/secrets", item).build();
        let refused = check_declared(&document).unwrap_err().to_string();
        assert!(refused.contains("POST /secrets"), "{refused}");
        let item = document.paths.paths.get_mut("/secrets").unwrap();
        for (_, operation) in operations_mut(item) {
            declare(operation, Access::SignedIn);
        }
        assert!(check_declared(&document).is_ok());
    }
}
