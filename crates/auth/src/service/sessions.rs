//! Sessions: begun by a login, renewed by refresh tokens, ended by their user.

use identity::Principal;
use secrecy::ExposeSecret;
use uuid::Uuid;
use wire::{Done, Identity, LogOut, Refresh, Session, SessionProof, UserId};

use super::Accounts;
use crate::{
    Error,
    model::Refusal,
    session::{RefreshSecret, Refreshed},
};

impl Accounts {
    /// Renews a session.
    pub async fn refresh(&self, given: Refresh) -> Result<Session, Error> {
        let shown = RefreshSecret::parse(&given.refresh_token).ok_or_else(|| refused("unreadable"))?;
        let (new, now) = (Uuid::new_v4(), wire::now());
        let successor = shown.successor(new).stored(new);
        let found = self.store.show_token(&shown.hash(), &successor, now, &self.lives).await?;
        let found = found.ok_or_else(|| refused("unknown"))?;
        match found.outcome(new, now, self.lives.grace) {
            Refreshed::With(id) => {
                metrics::counter!("omnichat_refreshes_total", "result" => "success").increment(1);
                self.session(found.user.into(), found.session, &shown.successor(id))
            }
            Refreshed::Over => Err(refused("over")),
            Refreshed::Reused => {
                tracing::warn!(
                    user_id = %found.user, session = %found.session,
                    "a refresh token was shown again: its session is ended"
                );
                Err(refused("reused"))
            }
        }
    }

    /// Ends a session of the caller, or all of them. One that is not there is over already.
    pub async fn log_out(&self, caller: Principal, given: LogOut) -> Result<Done, Error> {
        self.store.end_sessions(caller.user(), given.session_id).await?;
        tracing::info!(user_id = %caller.user(), session = given.session_id.map(tracing::field::display), "logout");
        Ok(Done { message: "Logged out successfully".into() })
    }

    /// Whether the holder of a good access token is still let in.
    pub async fn check_session(&self, proof: SessionProof) -> Result<Identity, Error> {
        self.prover.session(proof).await
    }

    pub(super) async fn begin_session(&self, user: UserId) -> Result<Session, Error> {
        let (id, secret) = (Uuid::now_v7(), RefreshSecret::random());
        let ends = wire::now() + self.lives.session;
        if !self.store.begin_session(user, &secret.stored(id), ends).await? {
            return Err(Error::InvalidCredentials(Refusal::Disabled));
        }
        self.session(user, id, &secret)
    }

    fn session(&self, user: UserId, session: Uuid, secret: &RefreshSecret) -> Result<Session, Error> {
        Ok(Session {
            access_token: self.signer.sign(user, session).map_err(Error::Sign)?,
            token_type: "bearer".into(),
            expires_in: self.signer.life_s().into(),
            refresh_token: secret.text().expose_secret().to_owned(),
        })
    }
}

fn refused(result: &'static str) -> Error {
    metrics::counter!("omnichat_refreshes_total", "result" => result).increment(1);
    Error::InvalidRefreshToken(result)
}
