//! Claims about lists: every one as a table, as JSON and as CSV, page by page.

use sira_domain::identity::Role;
use sira_domain::imports::{self, NewImport};
use sira_domain::nouns::ImportId;
use sira_domain::privacy::Subject;
use sira_kernel::Actor;

use crate::house::House;

/// A list's command, the column that its pages go on by, and the option for it.
const LISTS: [(&[&str], &str, &str); 6] = [
    (&["jobs", "ls"], "id", "--before"),
    (&["workflows", "ls"], "id", "--before"),
    (&["leads", "imports"], "id", "--before"),
    (&["reviews", "ls"], "id", "--before"),
    (&["quarantine", "ls"], "id", "--after"),
    (&["user", "ls"], "username", "--after"),
];

/// Three of everything.
async fn filled() -> House {
    let mut house = House::new().await;
    let leads: Vec<_> = (0..3).map(|_| house.lead()).collect();
    house.announce(&leads).await;
    sqlx::query(
        "update inbound_events set state = 'quarantined', reason_code = 'not_found', reason = 'gone'",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    house.react_by(|_, _| Vec::new());
    for number in 0..3 {
        house.person(&format!("user{number}"), Role::Agent, None).await;
        // Three of one address make three pairs.
        house.asks(Some(number), "shared").await;
        let id = ImportId::new();
        let cx = &house.parts.cx;
        let key = cx.cipher.create_key(Subject::Import(id), cx.clock.now()).await.unwrap();
        let new =
            NewImport { user: None, name: "Ayşe Demo.csv", region: "TR", time_zone: "Europe/Istanbul" };
        let mut uow = cx.begin(Actor::System).await.unwrap();
        imports::create(&mut uow, &key, id, &new).await.unwrap();
        uow.commit().await.unwrap();
        sqlx::query(
            "insert into engine.workflows (kind, key, version, queue, attempts_max, status, state)
             values ('sla.timer', $1, 1, 'sla', 3, 'running', '{}')",
        )
        .bind(format!("key{number}"))
        .execute(&house.db.pool)
        .await
        .unwrap();
    }
    house
}

fn with<'a>(command: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [command, rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_a_table_json_and_csv() {
    let house = filled().await;
    for (list, column, _) in LISTS {
        let json = house.sira(&with(list, &["-o", "json"]));
        assert_eq!(json.code, Some(0), "{json:?}");
        assert_eq!(json.err, "", "{list:?}");
        let rows = json.json();
        assert_eq!(rows.as_array().unwrap().len(), 3, "{list:?}");
        let csv = house.sira(&with(list, &["-o", "csv"]));
        assert_eq!((csv.code, csv.out.lines().count()), (Some(0), 4), "{csv:?}");
        assert!(csv.out.lines().next().unwrap().split(',').any(|heading| heading == column), "{csv:?}");
        let table = house.sira(list);
        assert_eq!((table.code, table.out.lines().count()), (Some(0), 4), "{table:?}");
        let first = rows[0][column].to_string();
        assert!(table.out.lines().nth(1).unwrap().contains(first.trim_matches('"')), "{table:?}");
        assert!(!format!("{json:?}{csv:?}{table:?}").contains("Ayşe"), "a file's name is sealed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_every_list_follow_each_other_without_a_gap() {
    let house = filled().await;
    for (list, column, option) in LISTS {
        let all = house.sira(&with(list, &["-o", "json"])).json();
        let page = house.sira(&with(list, &["-o", "json", "--limit", "2"]));
        let rows = page.json();
        assert_eq!(rows.as_array().unwrap()[..], all.as_array().unwrap()[..2], "{list:?}");
        let last = rows[1][column].to_string();
        let last = last.trim_matches('"');
        assert_eq!(page.err, format!("there are more: {option} {last}\n"), "{list:?}");
        let next = house.sira(&with(list, &["-o", "json", "--limit", "2", option, last]));
        assert_eq!(next.json().as_array().unwrap()[..], all.as_array().unwrap()[2..], "{list:?}");
        assert_eq!(next.err, "", "the last page says nothing");
        for limit in ["0", "201", "many"] {
            assert_eq!(house.sira(&with(list, &["--limit", limit])).code, Some(2), "{list:?} {limit}");
        }
    }
}
