//! Claims about leads.

use sira_testkit::TestDb;

#[tokio::test]
async fn template_has_the_status_catalogue() {
    let db = TestDb::new().await;
    let count: i64 = sqlx::query_scalar("select count(*) from statuses").fetch_one(&db.pool).await.unwrap();
    assert_eq!(count, 10);
}
