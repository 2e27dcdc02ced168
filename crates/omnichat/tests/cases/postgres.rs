//! The connections to Postgres, when the network forgets them.

use std::time::{Duration, Instant};

use host::postgres::{self, Pool};
use testkit::{
    eventually,
    faults::proxy::{Proxy, Upstream},
    postgres::Database,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// The server's own bound; what is over it, this side waits a second more.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

/// A configuration with one connection.
pub fn config(url: &str) -> postgres::Config {
    postgres::Config {
        url: Some(url.into()),
        pool_size: 1,
        acquire_timeout_ms: 5000,
        statement_timeout_ms: STATEMENT_TIMEOUT.as_millis() as u32,
        lock_timeout_ms: 2000,
        idle_in_transaction_timeout_ms: 5000,
    }
}

async fn through_a_proxy(database: &Database) -> (Proxy, Pool) {
    let (rest, socket) = database.url().split_once("?host=").expect("a socket");
    let proxy = Proxy::start(Upstream::Unix(format!("{}/.s.PGSQL.5432", decoded(socket)).into())).await;
    let url = rest.replace("localhost:5432", &proxy.address().to_string());
    let pool = postgres::connect(&config(&format!("{url}?sslmode=disable")), "test", None).await;
    (proxy, pool.unwrap())
}

fn decoded(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/")
}

/// The pool has its connection back.
async fn is_idle(pool: &Pool) {
    eventually("the connection is back", SOON, async || (pool.patient().num_idle() == 1).then_some(())).await;
}

async fn answers(pool: &Pool) -> sqlx::Result<i32> {
    sqlx::query_scalar("select 1").fetch_one(pool).await
}

#[tokio::test]
async fn an_answer_that_is_lost_on_the_way_is_waited_for_a_second_more_than_the_server_takes() {
    let database = Database::new(env!("CARGO_BIN_EXE_omnichat")).await;
    let (proxy, pool) = through_a_proxy(&database).await;
    assert_eq!(answers(&pool).await.unwrap(), 1);
    is_idle(&pool).await;
    proxy.strand();
    let asked = Instant::now();
    let lost = timeout(SOON, answers(&pool)).await.expect("an end to the waiting");
    assert!(postgres::is_away(&lost.unwrap_err()));
    assert!(asked.elapsed() > STATEMENT_TIMEOUT, "the server has its time");
    // The only connection was given up, and another is made.
    let next = timeout(SOON, answers(&pool)).await.expect("another connection");
    assert_eq!(next.unwrap(), 1);
    // Lost while the pool asks the connection whether it is well: the pool waits no longer either.
    proxy.strand();
    let next = timeout(SOON, answers(&pool)).await.expect("another connection");
    assert_eq!(next.unwrap(), 1);
}

/// Otherwise the answer to one statement could be taken for that to another.
#[tokio::test]
async fn a_connection_whose_statement_was_not_waited_for_is_closed() {
    let database = Database::new(env!("CARGO_BIN_EXE_omnichat")).await;
    let (proxy, pool) = through_a_proxy(&database).await;
    let number = |pool: Pool| async move {
        sqlx::query_scalar::<_, i32>("select pg_backend_pid()").fetch_one(&pool).await.unwrap()
    };
    let first = number(pool.clone()).await;
    assert_eq!(number(pool.clone()).await, first, "the pool keeps its connection");
    is_idle(&pool).await;
    proxy.freeze(true);
    let abandoned = timeout(Duration::from_millis(100), answers(&pool)).await;
    assert!(abandoned.is_err(), "nothing passes");
    proxy.freeze(false);
    let next = timeout(SOON, number(pool.clone())).await.expect("a connection");
    assert_ne!(next, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_whose_connections_break_while_many_use_it_is_whole_again_afterwards() {
    let database = Database::new(env!("CARGO_BIN_EXE_omnichat")).await;
    let (proxy, pool) = through_a_proxy(&database).await;
    let users: JoinSet<()> = (0..40)
        .map(|_| {
            let pool = pool.clone();
            async move {
                loop {
                    let _ = answers(&pool).await;
                }
            }
        })
        .collect();
    for round in 0..20 {
        sleep(Duration::from_millis(100)).await;
        if round % 5 == 0 { proxy.strand() } else { proxy.cut() }
    }
    drop(users);
    // The last cut may have met the one connection while it lay in the pool, trusted; whoever takes it next is told so.
    let told = timeout(SOON, answers(&pool)).await.expect("an end to the waiting");
    assert!(told.as_ref().err().is_none_or(postgres::is_away), "{told:?}");
    for _ in 0..8 {
        let next = timeout(SOON, answers(&pool)).await.expect("a connection");
        assert_eq!(next.unwrap(), 1);
    }
}
