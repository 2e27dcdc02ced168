//! The JWTs that servers and callouts exchange (NATS JWT, version 2): an Ed25519 signature by an nkey, which the token itself
//! names as its issuer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CalloutKeys;

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// Signs claims.
pub(super) fn encode(keys: &CalloutKeys, mut claims: Value) -> Option<String> {
    claims["iss"] = keys.issuer().into();
    claims["iat"] = wire::now().unix_timestamp().into();
    claims["jti"] = uuid::Uuid::new_v4().simple().to_string().into();
    let body = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{}.{body}", BASE64_URL_SAFE_NO_PAD.encode(HEADER));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(keys.sign(&signed)?);
    Some(format!("{signed}.{signature}"))
}

/// What a server says, if it did sign it.
pub(super) fn decode<T: DeserializeOwned>(token: &[u8]) -> Option<T> {
    let (signed, signature) = std::str::from_utf8(token).ok()?.rsplit_once('.')?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let server = KeyPair::from_public_key(claims["iss"].as_str()?).ok()?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    server.verify(signed.as_bytes(), &signature).ok()?;
    (server.key_pair_type() == KeyPairType::Server).then_some(())?;
    serde_json::from_value(claims).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_server_signed_is_read() {
        let keys = CalloutKeys::random();
        let ours = encode(&keys, json!({ "sub": "U" })).unwrap();
        assert!(decode::<Value>(ours.as_bytes()).is_none(), "an account is no server");
        let server = KeyPair::new_server();
        let body =
            BASE64_URL_SAFE_NO_PAD.encode(json!({ "iss": server.public_key(), "sub": "U" }).to_string());
        let signed = format!("{}.{body}", BASE64_URL_SAFE_NO_PAD.encode(HEADER));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(server.sign(signed.as_bytes()).unwrap());
        let token = format!("{signed}.{signature}");
        assert_eq!(decode::<Value>(token.as_bytes()).unwrap()["sub"], "U");
        let other = BASE64_URL_SAFE_NO_PAD.encode(KeyPair::new_server().sign(signed.as_bytes()).unwrap());
        for bad in [format!("{signed}.{other}"), signed, String::new(), "a.b.c".into()] {
            assert!(decode::<Value>(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
