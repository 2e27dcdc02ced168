//! A pool whose statements have a deadline on this side too. The server's own `statement_timeout` does not help when its
//! answer is lost: where a network forgets a connection without a word, who waits would wait for ever.

use std::{future::Future, time::Duration};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::timeout;

use crate::telemetry::Metric;

/// What this module counts.
pub const METRICS: &[Metric] = &[Metric::counter(
    SILENCES,
    "Answers of Postgres that did not come in time; the connection was given up.",
)];

const SILENCES: &str = "omnichat_postgres_silences_total";

/// Over the server's own bound: for its answer to come.
const MARGIN: Duration = Duration::from_secs(1);

/// Connections to the database, given to each statement for as long as it runs. Cheap to clone.
///
/// A connection whose statement did not end in time, or was not waited for, is closed: nobody knows what would come out of
/// it next.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: PgPool,
    patience: Patience,
}

/// How long an answer of the database is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Option<Duration>);

impl Patience {
    /// A moment more than the server itself takes, by its `statement_timeout`; for ever if it has none.
    pub(super) fn over(statement_timeout_ms: u32) -> Self {
        Self((statement_timeout_ms > 0).then(|| Duration::from_millis(statement_timeout_ms.into()) + MARGIN))
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// Those of the answer, and [`sqlx::Error::Io`] when it does not come. The connection is then good for nothing.
    pub async fn wait<T>(self, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let Some(patience) = self.0 else { return answer.await };
        timeout(patience, answer).await.unwrap_or_else(|_| {
            metrics::counter!(SILENCES).increment(1);
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
        })
    }
}

/// A connection in use. It is given back only when its statement has come to an end; else it is dropped as it is: to say
/// goodbye, as the pool would, may take as long as the statement.
struct InUse(Option<PoolConnection<Postgres>>);

impl Drop for InUse {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl Pool {
    pub(super) const fn new(connections: PgPool, patience: Patience) -> Self {
        Self { connections, patience }
    }

    /// Another pool of half as many connections, with these settings of their session: two of them are bulkheads, of which
    /// one may be full without the other.
    pub fn half(&self, session: &[(&str, &str)]) -> Self {
        let options = self.connections.options().clone();
        let connections = options.get_max_connections().div_ceil(2);
        let made = self.connect_options().options(session.iter().copied());
        Self::new(options.max_connections(connections).connect_lazy_with(made), self.patience)
    }

    /// How its connections are made, for whoever needs one of their own.
    pub fn connect_options(&self) -> PgConnectOptions {
        (*self.connections.connect_options()).clone()
    }

    /// How long it waits for an answer.
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    /// Without deadline, for what may take its time, such as migrations.
    pub const fn patient(&self) -> &PgPool {
        &self.connections
    }

    /// Lends a connection to `work`, which has one deadline in all.
    pub(super) async fn lend<T, E: From<sqlx::Error>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut used = InUse(Some(self.connections.acquire().await?));
        let Some(connection) = &mut used.0 else { return Err(sqlx::Error::PoolClosed.into()) };
        let done = self.patience.wait(async { Ok(work(connection).await) }).await?;
        if let Some(mut connection) = used.0.take() {
            // The pool asks it whether it is well, and by itself would wait for that answer for ever.
            let given_back = connection.return_to_pool().map(Ok);
            #[expect(
                clippy::disallowed_methods,
                reason = "as the pool itself would; no shutdown waits for it"
            )]
            tokio::spawn(self.patience.wait(given_back));
        }
        done
    }

    /// Waits until all connections are closed.
    pub async fn close(&self) {
        self.connections.close().await;
    }
}

type Step = Either<PgQueryResult, PgRow>;

impl<'p> Executor<'p> for &Pool {
    type Database = Postgres;

    /// What is found is gathered first: every query here has its bound.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let all =
            async move { pool.lend(async |on| on.fetch_many(query).try_collect::<Vec<_>>().await).await };
        stream::once(all).map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        async move { pool.lend(async |on| on.fetch_optional(query).await).await }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.lend(async |on| on.prepare_with(sql, parameters).await).await }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.lend(async |on| on.describe(sql).await).await }.boxed()
    }
}
