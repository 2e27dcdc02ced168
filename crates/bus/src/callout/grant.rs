//! What a user may do on NATS: ask in the user's own name, be answered in the user's own inboxes, and hear the user's own
//! events. A credential of fewer rights may ask less.

use serde_json::{Value, json};
use wire::{Identity, Scope, operations, subject};

use crate::connections::Holder;

/// The account that users and services share, as `nats/server.conf` names it.
const ACCOUNT: &str = "OMNICHAT";

/// The claims of a user who holds `identity`, for the server's one-time key of the connection.
pub(super) fn user(identity: &Identity, user_nkey: &str) -> Value {
    let user = identity.user_id;
    let mut listen = vec![format!("{}.>", subject::user_inbox(user))];
    if identity.scopes.contains(&Scope::Read) {
        listen.push(subject::user_events(user));
    }
    let mut claims = json!({
        "aud": ACCOUNT,
        "sub": user_nkey,
        "name": Holder::of(identity).to_string(),
        "nats": {
            // Events are told by the services: nobody makes them up, not even for oneself.
            "pub": { "allow": questions(identity), "deny": [subject::user_events(user)] },
            "sub": { "allow": listen },
            "subs": -1,
            "data": -1,
            "payload": -1,
            "type": "user",
            "version": 2,
        },
    });
    if let Some(end) = identity.expires_at {
        claims["exp"] = end.unix_timestamp().into();
    }
    claims
}

/// What may be asked. Whoever has every right may ask whatever there will be.
fn questions(identity: &Identity) -> Vec<String> {
    let user = identity.user_id;
    if Scope::ALL.iter().all(|scope| identity.scopes.contains(scope)) {
        return vec![subject::of_user(user)];
    }
    let allowed = |scope: Option<Scope>| scope.is_some_and(|scope| identity.scopes.contains(&scope));
    let operations = operations::ALL.iter().filter(|info| info.is_guarded() && allowed(info.scope));
    operations.map(|info| info.wildcard().replacen('*', &user.to_string(), 1)).collect()
}

#[cfg(test)]
mod tests {
    use wire::UserId;

    use super::*;

    fn claims(scopes: &[Scope]) -> (String, Value) {
        let user_id = UserId::new();
        let (session_id, api_key_id, expires_at) = (None, None, None);
        let identity = Identity { user_id, scopes: scopes.to_vec(), session_id, api_key_id, expires_at };
        (user_id.to_string(), user(&identity, "U"))
    }

    #[test]
    fn every_right_is_everything_of_ones_own() {
        let (id, claims) = claims(&Scope::ALL);
        assert_eq!(claims["nats"]["pub"]["allow"], json!([format!("omnichat.v1.u.{id}.>")]));
        let heard = json!([format!("_INBOX.{id}.>"), format!("omnichat.v1.u.{id}.events.>")]);
        assert_eq!(claims["nats"]["sub"]["allow"], heard);
        assert_eq!(claims["exp"], Value::Null);
    }

    #[test]
    fn fewer_rights_are_the_operations_that_they_stand_for() {
        let (id, read) = claims(&[Scope::Read]);
        let subjects = read["nats"]["pub"]["allow"].as_array().unwrap();
        assert!(subjects.contains(&json!(format!("omnichat.v1.u.{id}.projects.*.get"))));
        for subject in subjects {
            let subject = subject.as_str().unwrap();
            assert!(subject.starts_with(&format!("omnichat.v1.u.{id}.")) && !subject.contains('>'));
            assert!(!["create", "delete", "send"].iter().any(|verb| subject.ends_with(verb)), "{subject}");
        }
        let (id, chat) = claims(&[Scope::Chat]);
        assert_eq!(chat["nats"]["sub"]["allow"], json!([format!("_INBOX.{id}.>")]), "no events without read");
    }
}
