//! The writer's own connection. A pool would hand it out and take it back for each batch, and every turn waits for two.

use host::postgres::{Patience, Pool};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use super::{
    batch::Batch,
    is_refusal,
    statement::{self, Written},
};

/// One connection, made when it is needed.
pub(crate) struct Connection {
    options: PgConnectOptions,
    patience: Patience,
    open: Option<PgConnection>,
}

impl Connection {
    /// To be made like those of the pool, with the settings of this session over theirs.
    pub fn new(pool: &Pool, session: &[(&str, &str)]) -> Self {
        let options = pool.connect_options().options(session.iter().copied());
        Self { options, patience: pool.patience(), open: None }
    }

    /// Writes a batch. After a failure of anything but the batch itself the connection is made anew: the server may have
    /// become another one.
    pub async fn write(&mut self, default_model: &str, batch: &Batch) -> sqlx::Result<Written> {
        let connection = match &mut self.open {
            Some(connection) => connection,
            None => self.open.insert(self.patience.wait(self.options.connect()).await?),
        };
        let written = self.patience.wait(statement::execute(connection, default_model, batch)).await;
        if written.as_ref().is_err_and(|error| !is_refusal(error)) {
            self.open = None;
        }
        written
    }
}
