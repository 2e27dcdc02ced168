use super::{DataDir, Error, Nats, NatsOptions, Postgres, PostgresOptions, Run};

/// Both servers of one data dir.
#[derive(Debug)]
pub struct Servers {
    /// The queue and the router.
    pub nats: Nats,
    /// The record.
    pub postgres: Postgres,
    data_dir: DataDir,
}

impl Servers {
    /// Starts both and returns when both can be used. If one fails, the other ends.
    ///
    /// # Errors
    /// Those of [`Nats::start`] and [`Postgres::start`].
    pub async fn start(
        data_dir: DataDir,
        nats: NatsOptions,
        postgres: PostgresOptions,
    ) -> Result<Self, Error> {
        let (nats, postgres) = tokio::try_join!(Nats::start(nats), Postgres::start(postgres))?;
        Ok(Self { nats, postgres, data_dir })
    }

    /// Tells scripts where everything is, in the data dir's `run.json`, until the servers stop. Call it when the HTTP API
    /// at this base URL is ready.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&self, http: String) -> Result<(), Error> {
        let (nats, postgres) = (self.nats.url(), self.postgres.url());
        self.data_dir.publish(&Run { http, nats, postgres, pid: std::process::id() })
    }

    /// Once one of them has ended, though nobody asked it to: [`Error::Exited`] says which, how, and its last words.
    pub async fn died(&self) -> Error {
        tokio::select! {
            error = self.nats.died() => error,
            error = self.postgres.died() => error,
        }
    }

    /// Ends the nats-server, then Postgres, and gives the data dir free.
    pub async fn stop(self) {
        self.nats.stop().await;
        self.postgres.stop().await;
    }
}
