//! Claims about leads from files: every row is accounted for, once, whatever happens.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use sira_domain::imports::{
    self, Format, Import, ImportError, NewImport, State, Unreadable, Upload, UploadError,
};
use sira_domain::leads::{self, StatusChange};
use sira_domain::nouns::{ImportId, LeadId};
use sira_domain::privacy::{BlindField, DataKey, PrivacyError, Subject};
use sira_engine::{Effect, NewJob};
use sira_jobs::ingestion::{ImportLeads, UndoImport};
use sira_jobs::privacy::DestroyKeys;
use sira_kernel::Actor;
use sira_synthetic::{CONSENT_CHANNELS, CsvStyle, Dataset, Delimiter, HEADER_TURKISH, Options, Verdict};

use crate::house::{DRAIN, House};
use crate::processes::Worker;

const LEADS: &str = "select count(*) from leads";
const ENQUIRIES: &str = "select count(*) from lead_enquiries";
const BAD: &str = "select count(*) from import_rows";
const DONE: &str = "select count(*) from imports where state = 'done'";
const UNDONE: &str = "select count(*) from imports where state = 'undone'";

/// An import at a house.
pub struct Imported<'a> {
    house: &'a House,
    id: ImportId,
}

impl<'a> Imported<'a> {
    pub async fn new(house: &'a House) -> Self {
        let cx = &house.parts.cx;
        let id = ImportId::new();
        let key = cx.cipher.create_key(Subject::Import(id), cx.clock.now()).await.unwrap();
        let new = NewImport { user: None, name: "leads.csv", region: "TR", time_zone: "Europe/Istanbul" };
        let mut uow = cx.begin(Actor::System).await.unwrap();
        imports::create(&mut uow, &key, id, &new).await.unwrap();
        uow.commit().await.unwrap();
        Self { house, id }
    }

    async fn send(&self, bytes: &[u8]) -> Result<(Import, Format), UploadError> {
        let cx = &self.house.parts.cx;
        let mut upload = Upload::begin(&cx.db, &cx.cipher, Actor::System, self.id).await?;
        for part in bytes.chunks(7_000) {
            upload.write(part).await?;
        }
        upload.finish().await
    }

    async fn start(&self) -> Result<(), ImportError> {
        let mut uow = self.house.parts.cx.begin(Actor::System).await.unwrap();
        imports::start(&mut uow, self.id, None).await?;
        uow.commit().await?;
        Ok(())
    }

    async fn undo(&self) {
        let mut uow = self.house.parts.cx.begin(Actor::System).await.unwrap();
        imports::request_undo(&mut uow, self.id).await.unwrap();
        uow.commit().await.unwrap();
    }

    async fn look(&self) -> Import {
        let mut conn = self.house.parts.cx.db.read().await.unwrap();
        imports::get(&mut conn, self.id).await.unwrap()
    }

    /// Sent, started, and waited for.
    pub async fn run(&self, bytes: &[u8]) -> Import {
        self.send(bytes).await.unwrap();
        self.start().await.unwrap();
        self.house.until(1, DONE).await;
        self.house.quiet().await;
        self.look().await
    }
}

/// So many people, each once, by numbers of a block that is not handed out.
fn people(count: usize) -> String {
    let mut text = "Ad Soyad;Telefon;E-Posta;Dil\r\n".to_owned();
    for n in 0..count {
        let (prefix, rest) = (530 + n / 10_000, n % 10_000);
        let _ = write!(
            text,
            "Çağrı Demo{n};0{prefix} 000 {:02} {:02};p{n}@example.com;tr\r\n",
            rest / 100,
            rest % 100
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_becomes_a_lead_or_a_bad_row_with_its_line() {
    let house = House::new().await;
    house.agent("agent", 5_000).await;
    let running = house.work().await;
    let mut text = people(2_300);
    text.push_str("Çağrı Demo7;+90 (530) 000-00-07;;tr\r\n");
    text.push_str("Nobody;call me;none;tr\r\n");
    text.push_str("\"Two\nlines\";0530 000 00 08 / 0531 000 00 01;P8@Example.com;tr\r\n");
    text.push_str("Nobody;;;tr\r\n");
    text.push_str("No phone;;P9@example.com;\r\n");
    let import = Imported::new(&house).await;
    let ended = import.run(text.as_bytes()).await;
    assert_eq!((ended.state, ended.rows_done), (State::Done, 2_305));
    assert_eq!(
        (ended.counts.created, ended.counts.joined, ended.counts.reopened, ended.counts.bad),
        (2_300, 3, 0, 2)
    );
    assert_eq!(ended.bytes_done, ended.bytes);
    assert_eq!((house.count(LEADS).await, house.count(ENQUIRIES).await), (2_300, 2_303));
    let mut conn = house.parts.cx.db.read().await.unwrap();
    let bad = imports::list_bad(&mut conn, import.id, 0, 10).await.unwrap();
    let told: Vec<_> = bad.iter().map(|row| (row.line, row.code.as_str(), row.column)).collect();
    assert_eq!(told, [(2_303, "no_usable_contact", Some(2)), (2_306, "no_usable_contact", Some(2))]);
    house.until(2_300, "select count(*) from leads where owner_id is not null").await;
    house.quiet().await;
    running.drain(DRAIN).await;
}

/// Of each row of a file that has its numbers in a column: the lead, and what became of the row.
pub async fn fates(house: &House, import: &Import, column: &str) -> HashMap<u64, (LeadId, String)> {
    let rows: Vec<(uuid::Uuid, uuid::Uuid, String, Vec<u8>)> = sqlx::query_as(
        "select id, lead_id, effect, answers_sealed from lead_enquiries where import_id = $1 order by id",
    )
    .bind(import.id.uuid())
    .fetch_all(&house.db.pool)
    .await
    .unwrap();
    let subjects: Vec<Subject> = rows.iter().map(|row| Subject::Lead(LeadId::from_uuid(row.1))).collect();
    let keys = house.parts.cx.cipher.keys(&subjects).await.unwrap();
    let fate = |(row, key): ((uuid::Uuid, uuid::Uuid, String, Vec<u8>), &DataKey)| {
        let opened = key.open(leads::ANSWERS, row.0, &row.3).unwrap();
        let answers: Vec<(String, Vec<String>)> = serde_json::from_slice(&opened).unwrap();
        let (_, values) = answers.into_iter().find(|(name, _)| name == column).unwrap();
        (values[0].parse().unwrap(), (LeadId::from_uuid(row.1), row.2))
    };
    rows.into_iter().zip(&keys).map(fate).collect()
}

/// The line that each record after the headings begins in: counted by quotation marks alone.
fn lines(file: &[u8]) -> Vec<i64> {
    let (mut line, mut quoted, mut begins, mut all) = (1, false, true, Vec::new());
    for byte in file {
        if std::mem::take(&mut begins) {
            all.push(line);
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\n' => {
                line += 1;
                begins = !quoted;
            }
            _ => {}
        }
    }
    all.split_off(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_file_ends_as_its_truth_says_row_by_row() {
    let house = House::new().await;
    let running = house.work().await;
    let dataset = Dataset::new(Options::new(11, 3_000, house.parts.cx.clock.now(), 30)).unwrap();
    let mut file = Vec::new();
    let style = CsvStyle { delimiter: Delimiter::Semicolon, byte_order_mark: true, ..CsvStyle::default() };
    dataset.write_csv(&mut file, style).unwrap();
    let import = Imported::new(&house).await;
    let ended = import.run(&file).await;
    let fates = fates(&house, &ended, HEADER_TURKISH[0]).await;
    let lines = lines(&file);
    let mut bad = Vec::new();
    for truth in dataset.rows().map(|lead| lead.truth) {
        let fate = fates.get(&truth.row).map(|(lead, effect)| (*lead, effect.as_str()));
        let lead_of = |row: &u64| fates.get(row).map(|(lead, _)| *lead);
        match &truth.verdict {
            Verdict::Created => assert_eq!(fate.map(|f| f.1), Some("created"), "row {}", truth.row),
            Verdict::Joined { into } => {
                assert_eq!(fate.map(|f| f.1), Some("joined"), "row {}", truth.row);
                assert_eq!(fate.map(|f| f.0), lead_of(into), "row {} joins row {into}", truth.row);
            }
            Verdict::Doubtful { with } => {
                assert_eq!(fate.map(|f| f.1), Some("created"), "row {}", truth.row);
                assert_ne!(fate.map(|f| f.0), lead_of(with), "row {} is not row {with}", truth.row);
            }
            Verdict::Bad { reason } => {
                assert_eq!(fate, None, "row {}", truth.row);
                bad.push((lines[truth.row as usize - 1], (*reason).to_owned()));
            }
        }
    }
    let mut conn = house.parts.cx.db.read().await.unwrap();
    let told = imports::list_bad(&mut conn, import.id, 0, 3_000).await.unwrap();
    assert_eq!(told.into_iter().map(|row| (row.line, row.code)).collect::<Vec<_>>(), bad);
    // Every number that the truth names is there under its blind index, and no other.
    let cipher = &house.parts.cx.cipher;
    let expected: HashSet<Vec<u8>> = dataset
        .rows()
        .flat_map(|lead| lead.truth.phones.clone())
        .map(|phone| cipher.blind_index(BlindField::Phone, &phone).to_vec())
        .collect();
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("select blind_index from lead_contacts where kind = 'phone'")
            .fetch_all(&house.db.pool)
            .await
            .unwrap();
    assert_eq!(stored.len(), expected.len());
    assert_eq!(stored.into_iter().collect::<HashSet<_>>(), expected);
    // Every answer about consent is on record, and none that was not given.
    for (place, channel) in CONSENT_CHANNELS.into_iter().enumerate() {
        let said = |word: bool| {
            let rows = dataset.rows().filter(|lead| lead.truth.verdict.reason().is_none());
            rows.filter(|lead| lead.truth.consents[place] == Some(word)).count() as i64
        };
        let on_record: (i64, i64) = sqlx::query_as(
            "select count(*) filter (where decision = 'granted'), count(*) filter (where decision = 'refused')
             from consent_ledger where channel = $1",
        )
        .bind(channel)
        .fetch_one(&house.db.pool)
        .await
        .unwrap();
        assert_eq!(on_record, (said(true), said(false)), "{channel}");
    }
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_where_it_stopped() {
    let house = House::new().await;
    let import = Imported::new(&house).await;
    import.send(people(6_000).as_bytes()).await.unwrap();
    import.start().await.unwrap();
    let worker = Worker::start(&house);
    let begun = std::time::Instant::now();
    while import.look().await.rows_done == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the first chunk is settled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // By SIGKILL.
    drop(worker);
    let stopped = import.look().await;
    assert!((1..6_000).contains(&stopped.rows_done), "killed in the middle, at {}", stopped.rows_done);
    let running = house.work().await;
    house.until(1, DONE).await;
    let ended = import.look().await;
    assert_eq!(
        (ended.rows_done, ended.counts.created, ended.counts.joined, ended.counts.bad),
        (6_000, 6_000, 0, 0)
    );
    assert_eq!((house.count(LEADS).await, house.count(ENQUIRIES).await), (6_000, 6_000));
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_and_undoing_twice_changes_nothing() {
    let house = House::new().await;
    house.agent("agent", 5_000).await;
    let running = house.work().await;
    let import = Imported::new(&house).await;
    import.run(people(1_200).as_bytes()).await;
    for from in [0, 1_000] {
        house.apply(&[Effect::Job(NewJob::of(&ImportLeads { import: import.id, from }))]).await;
    }
    house.quiet().await;
    assert_eq!(
        (house.count(LEADS).await, house.count(ENQUIRIES).await, house.count(BAD).await),
        (1_200, 1_200, 0)
    );
    house.until(1_200, "select count(*) from leads where owner_id is not null").await;
    import.undo().await;
    house.until(1, UNDONE).await;
    house.quiet().await;
    let gone: Vec<uuid::Uuid> =
        sqlx::query_scalar("select subject from keystore.data_keys where destroyed_at is not null limit 3")
            .fetch_all(&house.db.pool)
            .await
            .unwrap();
    assert_eq!(gone.len(), 3);
    let leads = gone.into_iter().map(LeadId::from_uuid).collect();
    house.apply(&[Effect::Job(NewJob::of(&DestroyKeys { leads }))]).await;
    for part in [0, 1] {
        house.apply(&[Effect::Job(NewJob::of(&UndoImport { import: import.id, part }))]).await;
    }
    house.quiet().await;
    let ended = import.look().await;
    assert_eq!((ended.counts.removed, ended.counts.kept), (1_200, 0));
    assert_eq!(house.count("select count(*) from audit_event where action = 'import.undone'").await, 1);
    let destroyed = "select count(*) from keystore.data_keys where destroyed_at is not null";
    assert_eq!(house.count(destroyed).await, 1_200);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_takes_what_nobody_touched_and_leaves_the_rest() {
    let house = House::new().await;
    house.agent("agent", 100).await;
    let running = house.work().await;
    let import = Imported::new(&house).await;
    import.run(people(30).as_bytes()).await;
    house.until(30, "select sum(open_weight) from agent_load").await;
    let all: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from leads order by id").fetch_all(&house.db.pool).await.unwrap();
    let worked_on = LeadId::from_uuid(all[0]);
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let change =
        StatusChange { lead: worked_on, expected_version: None, to: "interested", reason: None, role: None };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
    import.undo().await;
    house.until(1, UNDONE).await;
    house.quiet().await;
    let ended = import.look().await;
    assert_eq!((ended.state, ended.counts.removed, ended.counts.kept), (State::Undone, 29, 1));
    assert_eq!(house.count(LEADS).await, 1);
    assert_eq!(house.count("select sum(open_weight) from agent_load").await, 1);
    assert_eq!(house.count("select count(*) from lead_contacts").await, 2);
    assert_eq!(house.count("select count(*) from sla_timers where ended_at is null").await, 1);
    let erased = house.parts.cx.cipher.key(Subject::Lead(LeadId::from_uuid(all[1]))).await;
    assert!(matches!(erased, Err(PrivacyError::Destroyed)));
    assert!(house.parts.cx.cipher.key(Subject::Lead(worked_on)).await.is_ok());
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn an_import_is_stopped_between_two_chunks_and_what_was_settled_stays() {
    let house = House::new().await;
    let import = Imported::new(&house).await;
    import.send(people(3_000).as_bytes()).await.unwrap();
    import.start().await.unwrap();
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    imports::cancel(&mut uow, import.id).await.unwrap();
    uow.commit().await.unwrap();
    let running = house.work().await;
    house.until(1, "select count(*) from imports where state = 'cancelled'").await;
    house.quiet().await;
    assert_eq!(house.count(LEADS).await, 0);
    let again = import.start().await;
    assert!(matches!(again, Err(ImportError::WrongState { state: State::Cancelled })));
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_changes_nothing_and_the_next_one_counts() {
    let house = House::new().await;
    let import = Imported::new(&house).await;
    let cx = &house.parts.cx;
    let mut broken = Upload::begin(&cx.db, &cx.cipher, Actor::System, import.id).await.unwrap();
    broken.write(&vec![b'x'; 2_500_000]).await.unwrap();
    drop(broken);
    assert_eq!(import.look().await.state, State::AwaitingFile);
    let (checked, format) = import.send(people(3).as_bytes()).await.unwrap();
    assert_eq!((checked.state, format.delimiter), (State::Checked, b';'));
    assert_eq!(house.count("select count(distinct upload) from import_pieces").await, 1);
}

#[tokio::test]
async fn files_that_are_no_tables_are_refused_with_what_they_are() {
    let house = House::new().await;
    let import = Imported::new(&house).await;
    let wide = vec!["c"; 300].join(",") + "\n1\n";
    let cases: [(&str, &[u8], Unreadable); 14] = [
        ("empty", b"", Unreadable::Empty),
        ("blank lines", b"\r\n \r\n", Unreadable::Empty),
        ("headings alone", b"name,phone\r\n", Unreadable::NoRows),
        ("a spreadsheet", b"PK\x03\x04xl/workbook.xml", Unreadable::Spreadsheet),
        ("an old spreadsheet", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Unreadable::Spreadsheet),
        ("gzip", b"\x1f\x8b\x08\x00name,phone", Unreadable::Compressed),
        ("7z", b"7z\xbc\xaf\x27\x1c", Unreadable::Compressed),
        ("PDF", b"%PDF-1.7\n", Unreadable::Document),
        ("a page", b"<!DOCTYPE html><table>", Unreadable::Document),
        ("an image", b"\x89PNG\r\n\x1a\n", Unreadable::Document),
        ("bytes", b"a\0\0\x01\x02\0b,c\0\0\n", Unreadable::Binary),
        (
            "no headings",
            b"Demo,05550000017,d@example.com\nDemo,05550000018,e@example.com\n",
            Unreadable::NoHeadings,
        ),
        ("too wide", wide.as_bytes(), Unreadable::TooManyColumns),
        ("a sheet saved as XML", b"<?xml version=\"1.0\"?><Workbook>", Unreadable::Document),
    ];
    for (what, bytes, expected) in cases {
        match import.send(bytes).await {
            Err(UploadError::File(found)) => assert_eq!(found, expected, "{what}"),
            Err(other) => panic!("{what}: {other}"),
            Ok((_, format)) => panic!("{what}: taken for {format:?}"),
        }
    }
    assert_eq!(import.look().await.state, State::AwaitingFile);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_odd_tables_are_read() {
    let house = House::new().await;
    let running = house.work().await;
    let turkish = "ad soyad;telefon\nŞule Çağrı;05550000017\nIşıl Öz;05550000018\n";
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let unit = |u: u16| if big { u.to_be_bytes() } else { u.to_le_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
    };
    let (windows, _, _) = encoding_rs::WINDOWS_1254.encode(turkish);
    let cases: [(&str, Vec<u8>, i64, i64); 14] = [
        ("UTF-8", turkish.into(), 2, 0),
        ("a byte order mark", format!("\u{feff}{turkish}").into(), 2, 0),
        ("Windows-1254", windows.into(), 2, 0),
        ("UTF-16, little end first", utf16(turkish, false), 2, 0),
        ("UTF-16, big end first", utf16(turkish, true), 2, 0),
        ("Excel's hint", "sep=;\nname;phone\nDemo;05550000017\n".into(), 1, 0),
        ("tabs", "name\tphone\nDemo\t05550000017\n".into(), 1, 0),
        ("pipes and old line ends", "name|phone\rDemo|05550000017\r".into(), 1, 0),
        (
            "blank lines, no last line end",
            "\nname,phone\n\n\nDemo,05550000017\n\nDemo,05550000018".into(),
            2,
            0,
        ),
        (
            "short and long rows",
            "name,phone,note\nDemo,05550000017\nDemo,05550000018,,,\nDemo,05550000019,x,y\n".into(),
            2,
            1,
        ),
        ("one column", "phone\n05550000017\nnone\n".into(), 1, 1),
        ("the same heading twice", "phone,phone\n05550000017,05550000018\n".into(), 1, 0),
        (
            "a broken character",
            b"name,phone\nD\xc3mo,05550000017\nDemo,05550000018\n\xc5\x9e,05550000019\n".to_vec(),
            3,
            0,
        ),
        (
            "a quotation mark that is never closed",
            format!("name,phone\nDemo,05550000017\n\"Demo,05550000018\n{}", "x,y\n".repeat(100_000)).into(),
            1,
            1,
        ),
    ];
    for (place, (what, bytes, good, bad)) in (1..).zip(cases) {
        sqlx::raw_sql("update lead_contacts set is_test = true; update leads set waiting_since = null")
            .execute(&house.db.pool)
            .await
            .unwrap();
        let import = Imported::new(&house).await;
        import.send(&bytes).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        import.start().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        house.until(place, DONE).await;
        let ended = import.look().await;
        assert_eq!((ended.counts.created + ended.counts.joined, ended.counts.bad), (good, bad), "{what}");
    }
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn a_mapping_without_a_contact_is_refused() {
    let house = House::new().await;
    let import = Imported::new(&house).await;
    import.send(b"city,colour\nBursa,green\n").await.unwrap();
    assert!(matches!(import.start().await, Err(ImportError::NoContactColumn)));
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let short = imports::start(&mut uow, import.id, Some(vec![None])).await;
    assert!(matches!(short, Err(ImportError::WrongColumns { columns: 2 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_leads_that_come_by_webhook_makes_each_person_one_lead() {
    let house = House::new().await;
    house.agent("agent", 5_000).await;
    let import = Imported::new(&house).await;
    import.send(people(2_000).as_bytes()).await.unwrap();
    let wish = |n: usize| sira_sandbox::LeadWish {
        phone: Some(format!("+90 530 000 {:02} {:02}", n / 100, n % 100)),
        ..sira_sandbox::LeadWish::default()
    };
    let same: Vec<_> = (0..100).map(|n| house.sandbox.new_lead(wish(n * 19))).collect();
    import.start().await.unwrap();
    house.announce(&same).await;
    let running = house.work().await;
    house.until(1, DONE).await;
    house.until(100, "select count(*) from inbound_events where state = 'settled'").await;
    house.quiet().await;
    assert_eq!((house.count(LEADS).await, house.count(ENQUIRIES).await), (2_000, 2_100));
    let ended = import.look().await;
    assert_eq!(ended.counts.created + ended.counts.joined, 2_000);
    running.drain(DRAIN).await;
}
