//! SQL of campaigns, ad sets, ads and forms.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Origin, Source};
use crate::nouns::{AdId, AdSetId, CampaignId, FormId, PoolId};

/// The ids of an origin's rows, as far as there are any.
#[derive(Default)]
pub struct Rows {
    pub campaign: Option<Uuid>,
    pub ad_set: Option<Uuid>,
    pub ad: Option<Uuid>,
    pub form: Option<Uuid>,
    pub pool: Option<PoolId>,
}

/// What stands there already.
pub struct Found {
    pub ids: Rows,
    names: [Option<String>; 4],
}

impl Found {
    /// Whether all of the origin's rows are there, under the names that it gives.
    pub fn covers(&self, origin: &Origin) -> bool {
        let wanted = [&origin.campaign, &origin.ad_set, &origin.ad, &origin.form];
        let ids = [self.ids.campaign, self.ids.ad_set, self.ids.ad, self.ids.form];
        wanted.iter().zip(ids).zip(&self.names).all(|((wanted, id), name)| match wanted {
            None => true,
            Some(source) => id.is_some() && (source.name.is_none() || source.name == *name),
        })
    }
}

fn external_id(source: Option<&Source>) -> Option<&str> {
    source.map(|source| source.external_id.as_str())
}

fn name(source: Option<&Source>) -> Option<&str> {
    source.and_then(|source| source.name.as_deref())
}

pub async fn find(conn: &mut PgConnection, source: &str, origin: &Origin) -> Result<Found, sqlx::Error> {
    let row = sqlx::query!(
        r#"select campaign.id as "campaign?", campaign.name as campaign_name, campaign.pool_id,
             ad_set.id as "ad_set?", ad_set.name as ad_set_name,
             ad.id as "ad?", ad.name as ad_name,
             form.id as "form?", form.name as form_name
         from (values (1)) as one
         left join campaigns campaign on campaign.source = $1 and campaign.external_id = $2
         left join ad_sets ad_set on ad_set.source = $1 and ad_set.external_id = $3
         left join ads ad on ad.source = $1 and ad.external_id = $4
         left join lead_forms form on form.source = $1 and form.external_id = $5"#,
        source,
        external_id(origin.campaign.as_ref()),
        external_id(origin.ad_set.as_ref()),
        external_id(origin.ad.as_ref()),
        external_id(origin.form.as_ref()),
    )
    .fetch_one(conn)
    .await?;
    Ok(Found {
        ids: Rows {
            campaign: row.campaign,
            ad_set: row.ad_set,
            ad: row.ad,
            form: row.form,
            pool: row.pool_id.map(PoolId::from_uuid),
        },
        names: [row.campaign_name, row.ad_set_name, row.ad_name, row.form_name],
    })
}

// `do update` rather than `do nothing`, because it also returns the row that was there. A name that the platform
// left out does not blank the one that is known.
pub async fn upsert(
    conn: &mut PgConnection,
    source: &str,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<Rows, sqlx::Error> {
    let row = sqlx::query!(
        r#"with campaign as (
             insert into campaigns (id, source, external_id, name, created_at, updated_at)
             select $3, $1, $4, $5, $2, $2 where $4::text is not null
             on conflict (source, external_id) do update
                 set name = coalesce(excluded.name, campaigns.name), updated_at = excluded.updated_at
             returning id, pool_id
         ), ad_set as (
             insert into ad_sets (id, source, external_id, name, campaign_id, created_at, updated_at)
             select $6, $1, $7, $8, (select id from campaign), $2, $2 where $7::text is not null
             on conflict (source, external_id) do update
                 set name = coalesce(excluded.name, ad_sets.name),
                     campaign_id = coalesce(excluded.campaign_id, ad_sets.campaign_id),
                     updated_at = excluded.updated_at
             returning id
         ), ad as (
             insert into ads (id, source, external_id, name, ad_set_id, created_at, updated_at)
             select $9, $1, $10, $11, (select id from ad_set), $2, $2 where $10::text is not null
             on conflict (source, external_id) do update
                 set name = coalesce(excluded.name, ads.name),
                     ad_set_id = coalesce(excluded.ad_set_id, ads.ad_set_id),
                     updated_at = excluded.updated_at
             returning id
         ), form as (
             insert into lead_forms (id, source, external_id, name, created_at, updated_at)
             select $12, $1, $13, $14, $2, $2 where $13::text is not null
             on conflict (source, external_id) do update
                 set name = coalesce(excluded.name, lead_forms.name), updated_at = excluded.updated_at
             returning id
         )
         select (select id from campaign) as campaign, (select pool_id from campaign) as pool,
             (select id from ad_set) as ad_set, (select id from ad) as ad, (select id from form) as form"#,
        source,
        now,
        CampaignId::new().uuid(),
        external_id(origin.campaign.as_ref()),
        name(origin.campaign.as_ref()),
        AdSetId::new().uuid(),
        external_id(origin.ad_set.as_ref()),
        name(origin.ad_set.as_ref()),
        AdId::new().uuid(),
        external_id(origin.ad.as_ref()),
        name(origin.ad.as_ref()),
        FormId::new().uuid(),
        external_id(origin.form.as_ref()),
        name(origin.form.as_ref()),
    )
    .fetch_one(conn)
    .await?;
    Ok(Rows {
        campaign: row.campaign,
        ad_set: row.ad_set,
        ad: row.ad,
        form: row.form,
        pool: row.pool.map(PoolId::from_uuid),
    })
}

pub async fn set_pool(
    conn: &mut PgConnection,
    source: &str,
    campaign: &Source,
    pool: PoolId,
    now: DateTime<Utc>,
) -> Result<CampaignId, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "insert into campaigns (id, source, external_id, name, pool_id, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)
         on conflict (source, external_id) do update
             set pool_id = excluded.pool_id, name = coalesce(excluded.name, campaigns.name),
                 updated_at = excluded.updated_at
         returning id",
        CampaignId::new().uuid(),
        source,
        campaign.external_id,
        campaign.name,
        pool.uuid(),
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(CampaignId::from_uuid(id))
}

pub async fn find_default_pool(conn: &mut PgConnection) -> Result<Option<PoolId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select id from pools where is_default").fetch_optional(conn).await?;
    Ok(id.map(PoolId::from_uuid))
}
