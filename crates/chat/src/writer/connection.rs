//! The writer's own connection. A pool would hand it out and take it back for each batch, and every turn waits for two.

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use super::{
    batch::Batch,
    is_refusal,
    statement::{self, Written},
};

/// One connection, made when it is needed.
pub(crate) struct Connection {
    options: PgConnectOptions,
    open: Option<PgConnection>,
}

impl Connection {
    /// To be made by these options.
    pub const fn new(options: PgConnectOptions) -> Self {
        Self { options, open: None }
    }

    /// Writes a batch. After a failure of anything but the batch itself the connection is made anew: the server may have
    /// become another one.
    pub async fn write(&mut self, default_model: &str, batch: &Batch) -> sqlx::Result<Written> {
        let connection = match &mut self.open {
            Some(connection) => connection,
            None => self.open.insert(self.options.connect().await?),
        };
        let written = statement::execute(connection, default_model, batch).await;
        if written.as_ref().is_err_and(|error| !is_refusal(error)) {
            self.open = None;
        }
        written
    }
}
