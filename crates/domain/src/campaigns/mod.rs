//! Campaigns, ad sets, ads and forms, as rows of their own, kept in step with what each lead says about them.
//!
//! A lead only points at them. A campaign may name the pool that its leads go to; without one they go to the
//! default pool.

mod store;

use std::collections::BTreeMap;

use crate::nouns::{AdId, AdSetId, CampaignId, FormId, PoolId};
use crate::{Event, Uow};

/// Something on an advertising platform: its id there, and its name when known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The platform's id.
    pub external_id: String,
    /// Its name, when the platform told it.
    pub name: Option<String>,
}

/// Where a lead came from. All optional: organic leads have a form at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The campaign.
    pub campaign: Option<Source>,
    /// The ad set.
    pub ad_set: Option<Source>,
    /// The ad.
    pub ad: Option<Source>,
    /// The form.
    pub form: Option<Source>,
}

/// The rows of an [`Origin`], and the pool that its leads go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginIds {
    /// The campaign.
    pub campaign: Option<CampaignId>,
    /// The ad set.
    pub ad_set: Option<AdSetId>,
    /// The ad.
    pub ad: Option<AdId>,
    /// The form.
    pub form: Option<FormId>,
    /// The campaign's pool, else the default pool.
    pub pool: PoolId,
}

/// Why an origin could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum CampaignsError {
    /// The campaign names no pool and no pool is the default one.
    #[error("no pool is the default one: create a pool with is_default")]
    NoDefaultPool,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Finds the rows of origins, each with its platform's short name, making or renaming those that need it. Answers in
/// the same order; equal origins are looked up once.
///
/// Most leads come from campaigns that are known, so it reads first and writes only on a difference: a busy
/// campaign's row is not locked by each of its leads. When it writes, the unique keys decide, not the read. Several
/// origins are written in one order, so that two batches wait for one another instead of deadlocking.
pub async fn resolve_all(
    uow: &mut Uow,
    origins: &[(&str, &Origin)],
) -> Result<Vec<OriginIds>, CampaignsError> {
    let mut resolved: BTreeMap<(&str, &Origin), Option<OriginIds>> =
        origins.iter().map(|origin| (*origin, None)).collect();
    for ((source, origin), ids) in &mut resolved {
        *ids = Some(resolve(uow, source, origin).await?);
    }
    Ok(origins.iter().filter_map(|origin| resolved[origin]).collect())
}

/// Lets a campaign's leads go to this pool from now on, whether the campaign is known yet or not, and records
/// [`Event::CampaignPoolSet`]. `platform` is the door's stored name: a file's campaigns are not a platform's. Leads that
/// came before stay where they are.
pub async fn send_to_pool(
    uow: &mut Uow,
    platform: &str,
    campaign: &Source,
    pool: PoolId,
) -> Result<CampaignId, CampaignsError> {
    let now = uow.now();
    let id = store::set_pool(uow.conn(), platform, campaign, pool, now).await?;
    uow.record(Event::CampaignPoolSet { campaign: id, pool });
    Ok(id)
}

async fn resolve(uow: &mut Uow, source: &str, origin: &Origin) -> Result<OriginIds, CampaignsError> {
    let now = uow.now();
    let found = store::find(uow.conn(), source, origin).await?;
    let rows =
        if found.covers(origin) { found.ids } else { store::upsert(uow.conn(), source, origin, now).await? };
    let pool = match rows.pool {
        Some(pool) => pool,
        None => store::find_default_pool(uow.conn()).await?.ok_or(CampaignsError::NoDefaultPool)?,
    };
    Ok(OriginIds {
        campaign: rows.campaign.map(CampaignId::from_uuid),
        ad_set: rows.ad_set.map(AdSetId::from_uuid),
        ad: rows.ad.map(AdId::from_uuid),
        form: rows.form.map(FormId::from_uuid),
        pool,
    })
}
