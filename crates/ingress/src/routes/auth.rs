//! Accounts, sessions and API keys.

use axum::extract::State;
use bytes::Bytes;
use http::Uri;
use serde_json::json;
use std::sync::Arc;
use wire::{
    ApiKeyId, Fault, FaultCode, LogOut,
    operations::{
        CHANGE_PASSWORD, CREATE_API_KEY, DELETE_API_KEY, GET_ACCOUNT, LIST_API_KEYS, LOG_IN, LOG_OUT,
        REFRESH, REGISTER, VALIDATE_ACCOUNT,
    },
};

use crate::{
    address::{PathId, page_as_body},
    answer::{self, Answer},
    body::JsonBody,
    caller::{Caller, Visitor},
    door::Door,
    route::Told,
};

pub(crate) async fn register(visitor: Visitor, JsonBody(body): JsonBody) -> Answer {
    visitor.ask(&REGISTER, body).await
}

pub(crate) async fn log_in(visitor: Visitor, JsonBody(body): JsonBody) -> Answer {
    visitor.ask(&LOG_IN, body).await
}

pub(crate) async fn refresh(visitor: Visitor, JsonBody(body): JsonBody) -> Answer {
    visitor.ask(&REFRESH, body).await
}

/// Ends the session of the token. An API key has none, and one without a session of ours cannot end by itself.
pub(crate) async fn log_out(caller: Caller) -> Answer {
    let Some(session_id) = caller.session_id() else {
        return Err(
            Fault::because(FaultCode::InsufficientScope, "This credential has no session to end").into()
        );
    };
    let body =
        serde_json::to_vec(&LogOut { session_id: Some(session_id) }).map_err(|_| FaultCode::Internal)?;
    let answer = caller.ask(&LOG_OUT, &[], body.into()).await;
    caller.forget_credential().await;
    answer
}

pub(crate) async fn change_password(caller: Caller, JsonBody(body): JsonBody) -> Answer {
    let answer = caller.ask(&CHANGE_PASSWORD, &[], body).await;
    caller.forget_credential().await;
    answer
}

pub(crate) async fn validate(caller: Caller) -> Answer {
    caller.ask(&VALIDATE_ACCOUNT, &[], Bytes::new()).await
}

pub(crate) async fn me(caller: Caller) -> Answer {
    caller.ask(&GET_ACCOUNT, &[], Bytes::new()).await
}

pub(crate) async fn create_api_key(caller: Caller, JsonBody(body): JsonBody) -> Answer {
    caller.ask(&CREATE_API_KEY, &[], body).await
}

pub(crate) async fn list_api_keys(caller: Caller, uri: Uri) -> Answer {
    caller.ask(&LIST_API_KEYS, &[], page_as_body(&uri)?).await
}

pub(crate) async fn delete_api_key(caller: Caller, PathId(key): PathId<ApiKeyId>) -> Answer {
    caller.ask(&DELETE_API_KEY, &[&key], Bytes::new()).await
}

pub(crate) const JWKS: Told = Told {
    name: "jwks",
    summary: "Shows the public keys of access tokens, where a key pair signs them.",
    gives: "A set of keys (RFC 7517).",
    media_type: "application/json",
    schema: || {
        let field = |about: &str, example: &str| json!({ "type": "string", "description": about, "examples": [example] });
        let fields = json!({
            "kty": field("The kind of key.", "OKP"),
            "crv": field("Its curve.", "Ed25519"),
            "x": field("The public key, in base64url.", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kid": field("Its name, which stands in the head of the tokens it signed.", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
            "alg": field("What it signs with.", "EdDSA"),
            "use": field("What it is for.", "sig"),
        });
        let key = json!({ "type": "object", "required": ["kty", "crv", "x", "kid"], "properties": fields });
        let keys = json!({ "type": "array", "items": key, "description": "One for each that is good." });
        json!({ "type": "object", "required": ["keys"], "properties": { "keys": keys } })
    },
    or_503: false,
};

/// The public keys of our tokens, for those who verify them elsewhere; nothing, where a shared secret signs.
pub(crate) async fn jwks(State(door): State<Arc<Door>>) -> Answer {
    let keys = door.credentials.verifier().public_keys();
    if keys.is_empty() {
        return Err(FaultCode::RouteNotFound.into());
    }
    Ok(answer::json(identity::jwks(&keys).to_string()))
}
