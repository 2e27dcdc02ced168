//! Whose credential it is: a token is verified here, and whether its holder is still let in, or whose API key it is, the auth
//! service says. What it said is believed for a while, so that its answer costs a session one call now and then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Bus, Context, Request};
use host::telemetry::Metric;
use identity::{ApiKey, Verifier};
use moka::{future::Cache, ops::compute::Op};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use wire::{
    ApiKeyProof, Encoding, Fault, FaultCode, Identity, OperationInfo, SessionProof,
    operations::{CHECK_API_KEY, CHECK_SESSION},
};

const CHECKS: &str = "omnichat_credential_checks_total";

/// The metrics of credentials.
pub(crate) const METRICS: &[Metric] =
    &[Metric::counter(CHECKS, "Credentials that the auth service was asked about, by result.")];

/// A good word is believed for so long, …
const GOOD_FOR: Duration = Duration::from_secs(30);
/// … or, while the auth service does not answer, for so long: a user who was disabled is out within a minute.
const GOOD_AT_MOST: Duration = Duration::from_secs(55);
/// A refusal is believed for so long: whoever repeats it costs us nothing.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// Credentials that are remembered.
const REMEMBERED_MAX: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(3);

/// Knows credentials. Nobody is let in whom it could not check.
pub(crate) struct Credentials {
    bus: Bus,
    verifier: Verifier,
    /// By the hash of the credential.
    known: Cache<[u8; 32], Known>,
}

/// To the auth service.
struct Question {
    info: &'static OperationInfo,
    proof: Vec<u8>,
    /// When a token ends.
    until: Option<OffsetDateTime>,
}

#[derive(Clone)]
struct Known {
    said: Result<Arc<Identity>, FaultCode>,
    at: Instant,
    /// When it ends, if it does.
    until: Option<OffsetDateTime>,
}

impl Known {
    fn new(said: Result<Arc<Identity>, FaultCode>, until: Option<OffsetDateTime>) -> Self {
        let until = until.or(said.as_ref().ok().and_then(|identity| identity.expires_at));
        Self { said, at: Instant::now(), until }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= wire::now())
    }

    fn is_fresh(&self) -> bool {
        let for_how_long = match &self.said {
            Ok(_) => GOOD_FOR,
            Err(FaultCode::Unavailable) => Duration::ZERO,
            Err(_) => REFUSED_FOR,
        };
        self.at.elapsed() < for_how_long
    }

    fn may_stand_in(&self) -> bool {
        self.said.is_ok() && self.at.elapsed() < GOOD_AT_MOST
    }
}

impl Credentials {
    pub fn new(bus: Bus, verifier: Verifier) -> Self {
        let known = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(GOOD_AT_MOST).build();
        Self { bus, verifier, known }
    }

    /// What tokens are verified by.
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whose it is, and what it may be used for.
    pub async fn prove(&self, credential: &str, context: &Context) -> Result<Arc<Identity>, Fault> {
        let key = hash(credential);
        let known = match self.known.get(&key).await.filter(Known::is_fresh) {
            // Its signature was found good when it was asked about: the same text has the same.
            Some(known) => known,
            None => self.find_out(key, self.read(credential)?, context).await?,
        };
        if known.is_over() { Err(FaultCode::TokenExpired.into()) } else { known.said.map_err(Fault::new) }
    }

    /// It is to be asked about again: its session has just been ended.
    pub async fn forget(&self, credential: &str) {
        self.known.invalidate(&hash(credential)).await;
    }

    /// What to ask about it. What is forged ends here, without a call.
    fn read(&self, credential: &str) -> Result<Question, Fault> {
        let (info, proof, until) = if ApiKey::is_meant_by(credential) {
            ApiKey::parse(credential).ok_or(FaultCode::InvalidToken)?;
            let proof = ApiKeyProof { api_key: credential.to_owned() };
            (&CHECK_API_KEY.info, Encoding::Json.encode(&proof), None)
        } else {
            let claims = self.verifier.verify(credential)?;
            let proof = SessionProof {
                user_id: claims.user,
                session_id: claims.session_id,
                expires_at: claims.expires_at,
            };
            (&CHECK_SESSION.info, Encoding::Json.encode(&proof), Some(claims.good_until()))
        };
        Ok(Question { info, proof: proof.map_err(|_| FaultCode::Internal)?, until })
    }

    /// What is known, or found out now; of many at a time one asks.
    async fn find_out(
        &self,
        key: [u8; 32],
        question: Question,
        context: &Context,
    ) -> Result<Known, FaultCode> {
        let asked = self.known.entry(key).and_compute_with(async |entry| {
            let before = entry.map(|entry| entry.into_value());
            if before.as_ref().is_some_and(Known::is_fresh) {
                return Op::Nop;
            }
            let Question { info, proof, until } = question;
            match self.ask(info, proof, context).await {
                Err(FaultCode::Unavailable) if before.as_ref().is_some_and(Known::may_stand_in) => Op::Nop,
                said => Op::Put(Known::new(said, until)),
            }
        });
        asked.await.into_entry().map(|entry| entry.into_value()).ok_or(FaultCode::Unavailable)
    }

    async fn ask(
        &self,
        info: &OperationInfo,
        proof: Vec<u8>,
        context: &Context,
    ) -> Result<Arc<Identity>, FaultCode> {
        let request = Request { context: context.clone(), body: proof.into(), key: None, timeout: PATIENCE };
        let said = match self.bus.call(info, &[], request).await {
            Ok(reply) if reply.status.is_none() => {
                serde_json::from_slice(&reply.body).map(Arc::new).map_err(|_| FaultCode::Internal)
            }
            Ok(reply) => Err(code(&reply.body)),
            Err(error) => {
                tracing::warn!(%error, "a credential could not be checked");
                Err(FaultCode::Unavailable)
            }
        };
        let result = said.as_ref().map_or_else(|code| code.as_str(), |_| "good");
        metrics::counter!(CHECKS, "result" => result).increment(1);
        said
    }
}

fn hash(credential: &str) -> [u8; 32] {
    Sha256::digest(credential).into()
}

fn code(problem: &[u8]) -> FaultCode {
    #[derive(Deserialize)]
    struct Refusal {
        code: FaultCode,
    }
    serde_json::from_slice::<Refusal>(problem).map_or(FaultCode::Internal, |refusal| refusal.code)
}
