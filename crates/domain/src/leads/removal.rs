//! Leads that should never have been: taken away with everything that says they were, but for the audit log.

use super::LeadError;
use super::store::removal as sql;
use crate::nouns::LeadId;
use crate::{Event, Uow, distribution};

/// Takes leads away, with their contacts, enquiries, consents and histories; what they weighed on their owners is freed, and
/// [`Event::LeadsRemoved`] is recorded. At most [`super::BATCH_MAX`]. For leads that nobody has called, written to or
/// agreed anything with. Their keys are destroyed by what follows from the event.
pub async fn remove(uow: &mut Uow, leads: &[LeadId]) -> Result<(), LeadError> {
    for (owner, weight) in sql::lock(uow.conn(), leads).await? {
        distribution::change_load(uow, owner, -weight).await?;
    }
    sql::delete(uow.conn(), leads).await?;
    uow.record(Event::LeadsRemoved { leads: leads.to_vec() });
    Ok(())
}
