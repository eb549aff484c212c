//! Who listens to a stream, and for how long they may.

use sira_domain::identity::{self, IdentityError, User};

use super::places::Place;
use crate::http::state::App;

/// Looks in a row at which the user could not be read; the next one ends the stream.
const UNREAD_MAX: u8 = 4;

/// A user with a place.
pub struct Listener {
    /// As they were when the stream was opened.
    pub user: User,
    unread: u8,
    _place: Place,
}

impl Listener {
    pub fn new(user: User, place: Place) -> Self {
        Self { user, unread: 0, _place: place }
    }

    /// Reads the user again: a stream ends with the role and the team for which it was opened.
    pub async fn may_go_on(&mut self, app: &App) -> bool {
        match self.find_user(app).await {
            Ok(found) => {
                self.unread = 0;
                found.is_some_and(|found| is_as_before(&self.user, &found))
            }
            Err(error) => {
                // Without the database no event comes, either.
                tracing::debug!(%error, "a stream's user could not be read");
                self.unread += 1;
                self.unread <= UNREAD_MAX
            }
        }
    }

    async fn find_user(&self, app: &App) -> Result<Option<User>, IdentityError> {
        let mut conn = app.cx.db.read().await?;
        identity::find_user(&mut conn, self.user.id).await
    }
}

/// Whether a user's stream may go on: it was opened for this role and this team.
fn is_as_before(before: &User, now: &User) -> bool {
    now.active && (now.role, now.team) == (before.role, before.team)
}
