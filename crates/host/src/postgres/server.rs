use sqlx::{PgConnection, prelude::FromRow};

use super::Error;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Server {
    /// `15.18`, without the distribution's own part.
    pub version: String,
    /// 150018 for 15.18.
    pub version_number: i32,
    /// A standby refuses every write.
    pub is_standby: bool,
    /// The encoding of the database.
    pub encoding: String,
    /// Whether commits reach the disk: off means that a power cut loses accepted turns.
    pub fsync: bool,
    /// Whether a commit waits for the disk; `off` means that a crash loses accepted turns.
    pub synchronous_commit: String,
}

/// The oldest major version that the migrations are tested on.
const MAJOR_MIN: i32 = 15;

impl Server {
    /// Asks the server at the other end of `connection`.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn look(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "select split_part(current_setting('server_version'), ' ', 1) as version,
                    current_setting('server_version_num')::int as version_number,
                    pg_is_in_recovery() as is_standby,
                    current_setting('server_encoding') as encoding,
                    current_setting('fsync')::bool as fsync,
                    current_setting('synchronous_commit') as synchronous_commit",
        )
        .fetch_one(connection)
        .await
    }

    /// # Errors
    /// [`Error::Config`], naming what does not suit.
    pub(super) fn suits(&self) -> Result<(), Error> {
        let Self { version, version_number, is_standby, encoding, .. } = self;
        let problem = if *version_number < MAJOR_MIN * 10_000 {
            format!("its version is {version}, the oldest supported is {MAJOR_MIN}")
        } else if *is_standby {
            "it is a standby and takes no writes: give the address of the primary".into()
        } else if encoding != "UTF8" {
            format!("the database's encoding is {encoding}: create it with encoding UTF8")
        } else {
            return Ok(());
        };
        Err(Error::unsuitable(&problem))
    }

    /// The settings that weaken the promise that an accepted turn survives, if any.
    pub fn weak_settings(&self) -> Vec<&'static str> {
        let fsync = (!self.fsync).then_some("fsync = off");
        let commit = (self.synchronous_commit == "off").then_some("synchronous_commit = off");
        fsync.into_iter().chain(commit).collect()
    }
}

/// For each new connection of a pool: after a failover the same address may lead to a standby.
pub(super) async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(connection).await? {
        false => Ok(()),
        true => Err(sqlx::Error::Configuration("the server is a standby and takes no writes".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version: "15.18".into(),
            version_number: 150_018,
            is_standby: false,
            encoding: "UTF8".into(),
            fsync: true,
            synchronous_commit: "on".into(),
        }
    }

    #[test]
    fn a_server_that_does_not_suit_is_told_why() {
        server().suits().unwrap();
        let old = Server { version: "14.9".into(), version_number: 140_009, ..server() };
        let standby = Server { is_standby: true, ..server() };
        let latin = Server { encoding: "LATIN1".into(), ..server() };
        for (server, reason) in [(old, "14.9"), (standby, "standby"), (latin, "LATIN1")] {
            let error = server.suits().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn settings_that_may_lose_a_commit_are_named() {
        assert!(server().weak_settings().is_empty());
        let weak = Server { fsync: false, synchronous_commit: "off".into(), ..server() };
        assert_eq!(weak.weak_settings(), ["fsync = off", "synchronous_commit = off"]);
    }
}
