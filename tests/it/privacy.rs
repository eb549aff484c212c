//! Claims about personal data at rest: keys, sealed values, blind indexes, the key file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use sira_domain::idempotency::{self, Begun, Request};
use sira_domain::nouns::LeadId;
use sira_domain::privacy::{
    BlindField, Cipher, DataKey, Field, KeyFileError, LocalKeyFile, OpenError, PrivacyError, SUBJECTS_MAX,
    Subject,
};
use sira_kernel::Id;
use sira_testkit::TestDb;
use tempfile::TempDir;

use crate::leads::Office;

const NAME: Field = Field { table: "leads", column: "name_sealed" };
const NOTE: Field = Field { table: "leads", column: "note_sealed" };

fn lead() -> Subject {
    Subject::Lead(LeadId::new())
}

fn fresh(db: &TestDb) -> Cipher {
    Cipher::new(db.pool.clone(), Arc::new(LocalKeyFile::generate()))
}

fn key_path(folder: &TempDir) -> PathBuf {
    folder.path().join("new/sira.keys")
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_sealed_value_opens_after_the_key_was_read_back() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let (subject, row) = (lead(), lead().uuid());
    let sealed =
        cipher.create_key(subject, db.clock.now()).await.unwrap().seal(NAME, row, "Işıl Öz".as_bytes());
    let key = cipher.key(subject).await.unwrap();
    assert_eq!(key.open(NAME, row, &sealed).unwrap(), "Işıl Öz".as_bytes());
    assert!(!sealed.windows(3).any(|window| window == "Öz".as_bytes()));
}

#[tokio::test]
async fn swapped_rows_columns_and_leads_do_not_open() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let keys = cipher.create_keys(&[lead(), lead()], db.clock.now()).await.unwrap();
    let [first, second] = keys.as_slice() else { panic!("two keys") };
    let (row, other) = (lead().uuid(), lead().uuid());
    let sealed = first.seal(NAME, row, b"Demo");
    let swaps =
        [first.open(NAME, other, &sealed), first.open(NOTE, row, &sealed), second.open(NAME, row, &sealed)];
    for opened in swaps {
        assert!(matches!(opened, Err(PrivacyError::DoesNotOpen)));
    }
    assert_eq!(first.open(NAME, row, &sealed).unwrap(), b"Demo");
}

#[tokio::test]
async fn swapped_wrapped_keys_do_not_unwrap() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let (a, b) = (lead(), lead());
    cipher.create_keys(&[a, b], db.clock.now()).await.unwrap();
    sqlx::query(
        "update keystore.data_keys as mine set wrapped = theirs.wrapped
         from keystore.data_keys as theirs where theirs.subject <> mine.subject",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    for subject in [a, b] {
        assert!(matches!(cipher.key(subject).await, Err(PrivacyError::WrongKek { .. })));
    }
}

#[tokio::test]
async fn another_key_file_is_named_as_the_wrong_one() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    cipher.verify().await.unwrap();
    let subject = lead();
    cipher.create_key(subject, db.clock.now()).await.unwrap();
    cipher.verify().await.unwrap();

    let stranger = fresh(&db);
    let message = stranger.verify().await.unwrap_err().to_string();
    assert!(message.contains("not the one this database was sealed with"), "{message}");
    assert!(matches!(stranger.key(subject).await, Err(PrivacyError::WrongKek { .. })));
}

#[tokio::test]
async fn verification_finds_a_foreign_key_among_many() {
    let db = TestDb::new().await;
    let (ours, theirs) = (fresh(&db), fresh(&db));
    let many: Vec<Subject> = (0..50).map(|_| lead()).collect();
    ours.create_keys(&many, db.clock.now()).await.unwrap();
    theirs.create_key(lead(), db.clock.now()).await.unwrap();
    for cipher in [ours, theirs] {
        assert!(matches!(cipher.verify().await, Err(PrivacyError::WrongKek { .. })));
    }
}

#[tokio::test]
async fn a_destroyed_key_is_gone_for_good() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let (erased, never_had_one, other) = (lead(), lead(), lead());
    cipher.create_keys(&[erased, other], db.clock.now()).await.unwrap();
    for _ in 0..2 {
        cipher.destroy_keys(&[erased], db.clock.now()).await.unwrap();
        cipher.destroy_keys(&[never_had_one], db.clock.now()).await.unwrap();
    }
    for subject in [erased, never_had_one] {
        assert!(matches!(cipher.key(subject).await, Err(PrivacyError::Destroyed)));
        let again = cipher.create_key(subject, db.clock.now()).await;
        assert!(matches!(again, Err(PrivacyError::Destroyed)));
    }
    cipher.key(other).await.unwrap();
    let wrapped: i64 = sqlx::query_scalar("select count(wrapped) from keystore.data_keys")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(wrapped, 1);
}

#[tokio::test]
async fn a_subject_without_a_key_is_missing() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let known = lead();
    cipher.create_key(known, db.clock.now()).await.unwrap();
    assert!(matches!(cipher.keys(&[known, lead()]).await, Err(PrivacyError::Missing)));
    let same_uuid_other_kind = Subject::Inbound(Id::from_uuid(known.uuid()));
    assert!(matches!(cipher.key(same_uuid_other_kind).await, Err(PrivacyError::Missing)));
}

#[tokio::test]
async fn parallel_creation_gives_each_subject_one_key() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let subjects: Vec<Subject> = (0..20).map(|_| lead()).collect();
    let (row, now) = (lead().uuid(), db.clock.now());
    let tasks = (0..16).map(|task| {
        let (cipher, mut subjects) = (cipher.clone(), subjects.clone());
        // Different orders: what deadlocks when rows are locked as they come.
        subjects.rotate_left(task);
        async move { cipher.create_keys(&subjects, now).await.unwrap() }
    });
    let made = futures_util::future::join_all(tasks).await;
    let sealed: Vec<_> = made[0].iter().map(|key| (key.subject(), key.seal(NAME, row, b"x"))).collect();
    for keys in &made {
        for (subject, sealed) in &sealed {
            let key = keys.iter().find(|key| key.subject() == *subject).unwrap();
            assert_eq!(key.open(NAME, row, sealed).unwrap(), b"x");
        }
    }
    let rows: i64 =
        sqlx::query_scalar("select count(*) from keystore.data_keys").fetch_one(&db.pool).await.unwrap();
    assert_eq!(rows, 20);
}

#[tokio::test]
async fn keys_come_in_the_order_asked_beyond_one_batch() {
    let db = TestDb::new().await;
    let cipher = fresh(&db);
    let mut subjects: Vec<Subject> = (0..=SUBJECTS_MAX).map(|_| lead()).collect();
    subjects.reverse();
    subjects.push(subjects[0]);
    let keys = cipher.create_keys(&subjects, db.clock.now()).await.unwrap();
    let order: Vec<Subject> = keys.iter().map(DataKey::subject).collect();
    assert_eq!(order, subjects);
    assert_eq!(keys[0].id(), keys[subjects.len() - 1].id());
    assert!(cipher.create_keys(&[], db.clock.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn blind_indexes_are_stable_and_differ_by_field_and_by_root() {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = key_path(&folder);
    let cipher = Cipher::with_key_file(db.pool.clone(), &path).await.unwrap();
    let reopened = Cipher::with_key_file(db.pool.clone(), &path).await.unwrap();
    let phone = cipher.blind_index(BlindField::Phone, "+905550000017");
    assert_eq!(phone, reopened.blind_index(BlindField::Phone, "+905550000017"));
    assert_ne!(phone, cipher.blind_index(BlindField::Email, "+905550000017"));
    assert_ne!(phone, cipher.blind_index(BlindField::Phone, "+905550000018"));
    assert_ne!(phone, fresh(&db).blind_index(BlindField::Phone, "+905550000017"));
}

#[tokio::test]
async fn a_requests_fingerprint_says_nothing_without_the_root() {
    let db = TestDb::new().await;
    let (cipher, stranger) = (fresh(&db), fresh(&db));
    let body = "+905550000017";
    let fingerprint = cipher.fingerprint(body.as_bytes());
    assert_eq!(fingerprint, cipher.clone().fingerprint(body.as_bytes()));
    assert_ne!(fingerprint, cipher.fingerprint(b"+905550000018"));
    assert_ne!(fingerprint, stranger.fingerprint(body.as_bytes()));
    assert_ne!(fingerprint, cipher.blind_index(BlindField::Phone, body), "a key of its own");
}

#[tokio::test]
async fn keys_of_requests_are_cleared_away_after_a_day_a_few_at_a_time() {
    let office = Office::open().await;
    let mut kept = Vec::new();
    for number in 0..27 {
        if number == 25 {
            office.test.clock.advance(idempotency::KEPT_FOR + TimeDelta::minutes(1));
        }
        let (principal, route) = ("user:1".to_owned(), "POST /leads".to_owned());
        let request = Request::new(&office.cipher, principal, route, number.to_string(), b"{}");
        let mut uow = office.begin().await;
        assert_eq!(idempotency::begin(&mut uow, &request).await.unwrap(), Begun::First);
        uow.commit().await.unwrap();
        kept.push(office.count("idempotency_keys").await);
    }
    assert_eq!(kept[24..], [25, 6, 2]);
}

#[tokio::test]
async fn consents_are_not_changed_even_where_triggers_are_switched_off() {
    let office = Office::open().await;
    office.arrive(&office.person_of_campaign(1, "c1")).await;
    for statements in [
        "update consent_ledger set decision = 'refused'",
        "truncate consent_ledger cascade",
        "set local session_replication_role = replica; update consent_ledger set decision = 'refused'",
        "set local session_replication_role = replica; truncate consent_ledger cascade",
    ] {
        let refused = sqlx::raw_sql(statements).execute(&office.test.pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statements}: {refused}");
    }
    let erased = sqlx::raw_sql("delete from consent_ledger").execute(&office.test.pool).await.unwrap();
    assert_eq!(erased.rows_affected(), 1, "erasure deletes");
}

#[tokio::test]
async fn a_lost_key_file_is_not_replaced_once_data_was_sealed() {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = key_path(&folder);
    let cipher = Cipher::with_key_file(db.pool.clone(), &path).await.unwrap();
    fs::rename(&path, folder.path().join("away")).unwrap();
    Cipher::with_key_file(db.pool.clone(), &path).await.map(drop).unwrap();
    fs::rename(folder.path().join("away"), &path).unwrap();

    cipher.create_key(lead(), db.clock.now()).await.unwrap();
    fs::rename(&path, folder.path().join("away")).unwrap();
    let refused = Cipher::with_key_file(db.pool.clone(), &path).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Lost(_))));
    assert!(!path.exists());
    fs::rename(folder.path().join("away"), &path).unwrap();
    Cipher::with_key_file(db.pool.clone(), &path).await.map(drop).unwrap();
}

#[test]
fn the_key_file_is_its_owners_alone_and_is_refused_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = key_path(&folder);
    LocalKeyFile::load_or_create(&path).unwrap();
    assert_eq!(mode_of(&path), 0o600);
    assert_eq!(mode_of(path.parent().unwrap()), 0o700);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "no draft stays behind");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = LocalKeyFile::load_or_create(&path).unwrap_err();
    assert!(matches!(refused, KeyFileError::Permissions { mode: 0o640, .. }));
    assert!(refused.to_string().contains(&format!("chmod 600 {}", path.display())), "{refused}");
}

#[test]
fn processes_that_make_the_key_file_together_end_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = key_path(&folder);
    let names: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| format!("{:?}", LocalKeyFile::load_or_create(&path).unwrap())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[test]
fn a_damaged_key_file_says_what_is_wrong_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sira.keys");
    LocalKeyFile::load_or_create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let cut = &text[..text.len() - 10];
    fs::write(&path, cut).unwrap();
    let refused = LocalKeyFile::load_or_create(&path).unwrap_err();
    assert!(matches!(refused, KeyFileError::Damaged { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), cut);
}
