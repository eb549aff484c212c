//! Claims about identity.

use std::io::Cursor;

use secrecy::SecretString;
use sira::cli::user::{CreateArgs, create};
use sira_domain::identity::{self, IdentityError, Passwords, Role, SignInError};

use crate::http::app::{PASSWORD, TestApp};

fn args(username: &str, role: Role, password_stdin: bool) -> CreateArgs {
    CreateArgs {
        username: username.to_owned(),
        role,
        display_name: None,
        team: Some("Ankara".to_owned()),
        pool_weight: 1,
        extension: None,
        password_stdin,
    }
}

#[tokio::test]
async fn a_username_is_taken_once_however_it_is_written() {
    let app = TestApp::new().await;
    app.user("ayse", Role::Agent).await;
    let new = |username: &str, hash| identity::NewUser {
        username: username.to_owned(),
        display_name: "Someone".to_owned(),
        role: Role::Agent,
        team: None,
        password: hash,
    };
    let hash = Passwords::new().hash("x1", &SecretString::from(PASSWORD)).await.unwrap();
    let mut uow = app.uow().await;
    let taken = identity::create_user(&mut uow, new(" AYSE ", hash.clone())).await;
    assert!(matches!(taken, Err(IdentityError::UsernameTaken)), "{taken:?}");
    drop(uow);
    let mut uow = app.uow().await;
    let invalid = identity::create_user(&mut uow, new("ay se", hash)).await;
    assert!(matches!(invalid, Err(IdentityError::InvalidUsername)), "{invalid:?}");
    let mut conn = app.app.cx.db.read().await.unwrap();
    let found = identity::find_user_by_username(&mut conn, "Ayse").await.unwrap().unwrap();
    assert_eq!(found.username, "ayse");
}

#[tokio::test]
async fn a_team_is_on_record_once_when_it_is_made() {
    let app = TestApp::new().await;
    let mut uow = app.uow().await;
    assert_eq!(identity::ensure_team(&mut uow, "Ankara").await.unwrap(), app.team);
    let izmir = identity::ensure_team(&mut uow, "Izmir").await.unwrap();
    assert_eq!(identity::ensure_team(&mut uow, " Izmir ").await.unwrap(), izmir);
    uow.commit().await.unwrap();
    let audited: Vec<String> =
        sqlx::query_scalar("select subject from audit_event where action = 'team.created' order by id")
            .fetch_all(&app.db.pool)
            .await
            .unwrap();
    assert_eq!(audited, [app.team.to_string(), izmir.to_string()]);
}

#[tokio::test]
async fn agents_get_a_load_row_and_others_do_not() {
    let app = TestApp::new().await;
    let agent = app.user("agent", Role::Agent).await;
    app.user("manager", Role::Manager).await;
    let rows: Vec<(uuid::Uuid, i32, i32)> =
        sqlx::query_as("select user_id, capacity, day_capacity from agent_load")
            .fetch_all(&app.db.pool)
            .await
            .unwrap();
    assert_eq!(rows, [(agent.id.uuid(), identity::CAPACITY_DEFAULT, identity::DAY_CAPACITY_DEFAULT)]);
}

#[tokio::test]
async fn users_are_listed_in_bounded_pages() {
    let app = TestApp::new().await;
    for name in ["carol", "alice", "bob"] {
        app.user(name, Role::Auditor).await;
    }
    let mut conn = app.app.cx.db.read().await.unwrap();
    let names = |users: Vec<identity::User>| users.into_iter().map(|user| user.username).collect::<Vec<_>>();
    let first = identity::list_users(&mut conn, None, 2).await.unwrap();
    assert_eq!(names(first), ["alice", "bob"]);
    let second = identity::list_users(&mut conn, Some("bob"), 2).await.unwrap();
    assert_eq!(names(second), ["carol"]);
}

#[tokio::test]
async fn user_create_shows_a_generated_password_once_and_a_given_one_never() {
    let app = TestApp::new().await;
    let db = &app.app.cx.db;
    let mut out = Vec::new();
    let user =
        create(db, args("generated", Role::Agent, false), &mut Cursor::new(""), &mut out).await.unwrap();
    assert_eq!(user.team, Some(app.team), "the team of that name is taken");
    let text = String::from_utf8(out).unwrap();
    let shown = text.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    let password = SecretString::from(shown);
    let signed_in = identity::sign_in(db, &app.app.passwords, "generated", &password).await.unwrap();
    assert_eq!(signed_in.id, user.id);

    let mut out = Vec::new();
    let mut input = Cursor::new(format!("{PASSWORD}\n"));
    create(db, args("given", Role::Admin, true), &mut input, &mut out).await.unwrap();
    assert!(!String::from_utf8(out).unwrap().contains(PASSWORD));
    identity::sign_in(db, &app.app.passwords, "given", &SecretString::from(PASSWORD)).await.unwrap();
    let wrong = identity::sign_in(db, &app.app.passwords, "given", &SecretString::from("another one")).await;
    assert!(matches!(wrong, Err(SignInError::Refused)), "{wrong:?}");

    let mut short = Cursor::new("short\n");
    let refused =
        create(db, args("third", Role::Admin, true), &mut short, &mut Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("at least 12"), "{refused}");
    let refused = create(db, args("third", Role::Admin, true), &mut Cursor::new("\n"), &mut Vec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("stdin"));
}
