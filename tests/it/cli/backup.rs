//! Claims about `sira backup` and `sira restore`: what was backed up comes back whole and readable, or not at all.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::Value;
use sira_domain::audit::{self, SigningKey};
use sira_domain::leads::CONTACT;
use sira_domain::nouns::LeadId;
use sira_domain::privacy::{Cipher, Subject};
use sira_postgres::{Private, Settings};
use sqlx::{Connection as _, PgConnection, PgPool};
use tempfile::TempDir;

use crate::house::{House, Ran, count, until};

const PHONE: &str = "+905550004417";
const FILE: &str = "Ad Soyad;Telefon;E-Posta\r\nKumru Güvercin;0555 000 44 17;kumru@example.com\r\n\
                    Martı Demo;0555 000 44 18;marti@example.com\r\n";
const TABLES: &str = "select count(*) from pg_tables where schemaname in ('public', 'engine', 'keystore')";

/// A directory that the unprivileged user can enter, so that a private cluster stays in it also when we are root.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    home
}

/// The real binary on a private PostgreSQL of its own.
fn private(data: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sira"));
    command.args(arguments).env("SIRA__DATA__DIR", data).env("SIRA__LOG__FILTER", "warn");
    Ran::of(&mut command)
}

/// An empty database beside the house's, gone with it.
struct Empty<'a> {
    house: &'a House,
    name: String,
}

impl<'a> Empty<'a> {
    async fn new(house: &'a House, name: &str) -> Self {
        let name = format!("{}_{name}", house.db.options().get_database().unwrap());
        let mut conn = PgConnection::connect_with(&house.db.options().database("postgres")).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("create database {name}"));
        sqlx::raw_sql(create).execute(&mut conn).await.unwrap();
        Self { house, name }
    }

    /// Restores into it with the key file of this data directory.
    fn restore(&self, data: &Path, from: &Path) -> Ran {
        self.sira(data, &["restore", from.to_str().unwrap()])
    }

    /// The real binary on it.
    fn sira(&self, data: &Path, arguments: &[&str]) -> Ran {
        let url = self.house.db.url();
        let url = url.replace(self.house.db.options().get_database().unwrap(), &self.name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sira"));
        command.args(arguments).env("SIRA__DATA__DIR", data).env("SIRA__DATABASE__URL", url);
        Ran::of(command.env("SIRA__LOG__FILTER", "warn"))
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect_with(self.house.db.options().database(&self.name)).await.unwrap()
    }

    async fn drop(self) {
        let mut conn =
            PgConnection::connect_with(&self.house.db.options().database("postgres")).await.unwrap();
        let dropped = sqlx::AssertSqlSafe(format!("drop database {} with (force)", self.name));
        sqlx::raw_sql(dropped).execute(&mut conn).await.unwrap();
    }
}

/// A house with leads, and a backup of it.
async fn backed_up(home: &TempDir, name: &str) -> (House, PathBuf) {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead(), house.lead()]).await;
    house.until(2, "select count(*) from leads where owner_id is not null").await;
    house.quiet().await;
    running.drain(crate::house::DRAIN).await;
    let to = home.path().join(name);
    let ran = house.sira(&["backup", to.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (house, to)
}

fn manifest(backup: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(backup.join("manifest.json")).unwrap()).unwrap()
}

async fn contacts(pool: &PgPool) -> Vec<(uuid::Uuid, uuid::Uuid, Vec<u8>)> {
    let sql = "select id, lead_id, sealed from lead_contacts where kind = 'phone' order by id";
    sqlx::query_as(sql).fetch_all(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_is_restored_whole_and_readable_on_a_new_machine() {
    let home = home();
    let (old, new) = (home.path().join("old"), home.path().join("new"));
    let file = home.path().join("leads.csv");
    std::fs::write(&file, FILE).unwrap();
    let imported = private(&old, &["leads", "import", file.to_str().unwrap()]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let backup = home.path().join("monday");
    let taken = private(&old, &["backup", backup.to_str().unwrap()]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(taken.out.contains("2 leads"), "{}", taken.out);
    let manifest = manifest(&backup);
    let root = manifest["keys"]["index_root"].as_str().unwrap();
    for said in ["THE KEY FILE IS NOT IN THIS BACKUP", "master.key", "docs/KEYS.md", root] {
        assert!(taken.err.contains(said), "{said}: {}", taken.err);
    }
    for name in ["manifest.json", "database.dump"] {
        let mode = std::fs::metadata(backup.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = std::fs::read_to_string(old.join("master.key")).unwrap();
    let secrets = key.lines().filter_map(|line| line.split(' ').next_back()).filter(|word| word.len() == 64);
    let text = manifest.to_string();
    assert!(secrets.into_iter().all(|secret| !text.contains(secret)), "fingerprints, not keys");
    assert!(!text.contains("Kumru") && !format!("{taken:?}").contains("Kumru"));

    // The machine is lost; the key file had a copy of its own.
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::create_dir(&new).unwrap();
    std::fs::write(new.join("master.key"), &key).unwrap();
    std::fs::set_permissions(new.join("master.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o711)).unwrap();
    let restored = private(&new, &["restore", backup.to_str().unwrap()]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.err.contains("a sealed contact was opened with the key file"), "{}", restored.err);

    let settings = Settings { bin_dir: None, data_dir: new.clone() };
    let cluster = Private::start(&settings, |_| {}).await.unwrap();
    let pool = PgPool::connect_with(cluster.options()).await.unwrap();
    let rows: BTreeMap<String, i64> = serde_json::from_value(manifest["rows"].clone()).unwrap();
    assert_eq!(rows["public.leads"], 2);
    assert_eq!(
        rows.len() as i64,
        count(
            &pool,
            "select count(*) from pg_tables where schemaname in \
        ('public', 'engine', 'keystore') and tablename !~ '_(default|p?[0-9]{8})$'"
        )
        .await
    );
    let cipher = Cipher::with_key_file(pool.clone(), &new.join("master.key")).await.unwrap();
    let mut phones = Vec::new();
    for (id, lead, sealed) in contacts(&pool).await {
        let key = cipher.key(Subject::Lead(LeadId::from_uuid(lead))).await.unwrap();
        phones.push(String::from_utf8(key.open(CONTACT, id, &sealed).unwrap()).unwrap());
    }
    assert!(phones.contains(&PHONE.to_owned()), "a number opens");
    assert_eq!(count(&pool, "select count(*) from audit_event where action = 'backup.restored'").await, 1);
    pool.close().await;
    cluster.stop().await;
    // It goes on as before: the same file again makes nobody a second time.
    let again = private(&new, &["leads", "import", file.to_str().unwrap()]);
    assert!(again.out.contains("created 0  joined 2"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_running_work_is_one_moment_and_one_tar_is_enough() {
    let home = home();
    let (house, _) = backed_up(&home, "first").await;
    let running = house.work().await;
    let leads: Vec<_> = (0..60).map(|_| house.lead()).collect();
    house.announce(&leads).await;
    let sealing = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let sealer = SigningKey::of_pkcs8(sealing.as_ref()).unwrap();
    audit::seal(&house.parts.cx.db, &sealer).await.unwrap().unwrap();
    let to = home.path().join("second.tar");
    let taken = house.sira(&["backup", to.to_str().unwrap()]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(to.is_file());
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!home.path().join("second.tar.partial").exists(), "nothing is left beside it");
    let empty = Empty::new(&house, "tar").await;
    let restored = empty.restore(&house.config.data.dir, &to);
    // The restore itself compares every table's rows with those of the moment.
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let missing = format!("sealed with the key {}, which is not at", sealer.public().id());
    assert!(restored.err.contains(&missing), "{}", restored.err);
    let pool = empty.pool().await;
    let orphans =
        "select count(*) from leads l where not exists (select from lead_contacts where lead_id = l.id)";
    assert_eq!(count(&pool, orphans).await, 0);
    assert_eq!(house.count("select count(*) from audit_event where action = 'backup.taken'").await, 2);
    pool.close().await;
    empty.drop().await;
    running.drain(crate::house::DRAIN).await;
    // With the key of the audit log there is nothing to warn of.
    let file = house.config.data.dir.join("secrets/audit_key");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, sealing.as_ref()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let empty = Empty::new(&house, "sealed").await;
    let restored = empty.restore(&house.config.data.dir, &to);
    assert!(restored.err.contains("sira audit verify") && !restored.err.contains("!!!"), "{}", restored.err);
    empty.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_refused_before_anything_is_touched() {
    let home = home();
    let (house, good) = backed_up(&home, "good").await;
    let empty = Empty::new(&house, "refused").await;
    let data = &house.config.data.dir;
    let (none, other) = (home.path().join("none"), home.path().join("other"));
    std::fs::create_dir(&none).unwrap();
    sira_domain::privacy::LocalKeyFile::load_or_create(&other.join("master.key")).unwrap();

    let copy = |name: &str, change: &dyn Fn(&mut Value, &mut Vec<u8>)| {
        let to = home.path().join(name);
        std::fs::create_dir(&to).unwrap();
        let mut said = manifest(&good);
        let mut dump = std::fs::read(good.join("database.dump")).unwrap();
        change(&mut said, &mut dump);
        std::fs::write(to.join("manifest.json"), said.to_string()).unwrap();
        std::fs::write(to.join("database.dump"), dump).unwrap();
        to
    };
    let flipped = copy("flipped", &|_, dump| {
        let middle = dump.len() / 2;
        dump[middle] ^= 1;
    });
    let cut = copy("cut", &|_, dump| dump.truncate(1_000));
    let newer = copy("newer", &|said, _| said["schema"] = 99_991_231_000_000_i64.into());
    let form = copy("form", &|said, _| said["format"] = 2.into());
    let half = home.path().join("half");
    std::fs::create_dir(&half).unwrap();
    std::fs::copy(good.join("database.dump"), half.join("database.dump")).unwrap();

    let cases: [(&Path, &Path, &str); 8] = [
        (data, &flipped, "its checksum differs"),
        (data, &cut, "its size differs"),
        (data, &newer, "newer than this binary"),
        (data, &form, "has the form 2"),
        (data, &half, "no whole backup"),
        (data, &home.path().join("nowhere"), "no whole backup"),
        (&none, &good, "is missing, and without it nobody reads"),
        (&other, &good, "does not open this backup"),
    ];
    for (data, from, says) in cases {
        let ran = empty.restore(data, from);
        assert_eq!(ran.code, Some(6), "{says}: {ran:?}");
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
    }
    assert!(!none.join("master.key").exists(), "no new key file is made in the place of a lost one");
    let pool = empty.pool().await;
    assert_eq!(count(&pool, TABLES).await, 0, "nothing was touched");
    pool.close().await;

    assert_eq!(empty.restore(data, &good).code, Some(0), "the good one is taken");
    let twice = empty.restore(data, &good);
    assert_eq!(twice.code, Some(6), "{twice:?}");
    assert!(twice.err.contains("the database is not empty"), "{}", twice.err);
    let onto = house.sira(&["backup", good.to_str().unwrap()]);
    assert_eq!(onto.code, Some(6), "a backup overwrites nothing: {onto:?}");
    empty.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_an_older_schema_is_restored_and_brought_up_to_date() {
    let home = home();
    let (house, _) = backed_up(&home, "newest").await;
    // As an installation is that has not seen these migrations, and whose audit log is not sealed.
    sqlx::raw_sql(
        "alter table lead_contacts drop column can_text;
         drop trigger audit_event_pending on audit_event;
         drop table audit_pending, audit_leaf, audit_checkpoint, audit_key, audit_tile;
         drop function audit_event_note, audit_refuse;
         drop index audit_event_actor_idx, audit_event_action_idx;
         delete from _sqlx_migrations where version in (20261126160000, 20261127150000, 20261127170000)",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    let older = home.path().join("older");
    let taken = house.sira(&["backup", older.to_str().unwrap()]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let empty = Empty::new(&house, "older").await;
    let restored = empty.restore(&house.config.data.dir, &older);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.err.contains("a sealed contact was opened"), "{}", restored.err);
    assert!(restored.err.contains("sira migrate"), "{}", restored.err);
    let migrated = empty.sira(&house.config.data.dir, &["migrate"]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    assert!(migrated.err.contains("3 migrations applied"), "{}", migrated.err);
    empty.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_killed_while_it_counts_or_dumps_leaves_nothing_that_looks_whole() {
    let home = home();
    let (house, _) = backed_up(&home, "first").await;
    let to = home.path().join("killed");
    let partial = home.path().join("killed.partial");
    let begin = || {
        Command::new(env!("CARGO_BIN_EXE_sira"))
            .arg("backup")
            .arg(&to)
            .env("SIRA__DATA__DIR", &house.config.data.dir)
            .env("SIRA__DATABASE__URL", house.db.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };

    // It waits for this lock while it counts.
    let mut holder = PgConnection::connect_with(&house.db.options()).await.unwrap();
    sqlx::raw_sql("begin; lock table leads in access exclusive mode").execute(&mut holder).await.unwrap();
    let mut counting = begin();
    until(
        &house.db.pool,
        1,
        "select count(*) from pg_locks where not granted and database = \
        (select oid from pg_database where datname = current_database())",
    )
    .await;
    assert!(partial.exists(), "it is under way");
    let second = house.sira(&["backup", to.to_str().unwrap()]);
    assert_eq!(second.code, Some(6), "one at a time: {second:?}");
    counting.kill().unwrap();
    counting.wait().unwrap();
    assert!(!to.exists());
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();

    // Rows that no compression makes small keep it dumping for a while.
    sqlx::raw_sql(
        "create table bulk as select n, decode(string_agg(md5(n::text || i::text), ''), 'hex') as noise \
         from generate_series(1, 20000) n, generate_series(1, 100) i group by n",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    let mut dumping = begin();
    let dump = partial.join("database.dump");
    while std::fs::metadata(&dump).map_or(0, |file| file.len()) < 1024 * 1024 {
        assert!(dumping.try_wait().unwrap().is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dumping.kill().unwrap();
    dumping.wait().unwrap();
    assert!(!to.exists() && !partial.join("manifest.json").exists());

    let ran = house.sira(&["backup", to.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(to.join("manifest.json").exists() && !partial.exists());
}
