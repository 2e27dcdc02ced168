use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::UserId;

use super::*;
use crate::{PrivateKey, Signer};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned().into()).unwrap()
}

fn key(seed: u8) -> PrivateKey {
    let pem = SigningKey::from_bytes(&[seed; 32]).to_pkcs8_pem(Default::default()).unwrap();
    PrivateKey::from_pem(&pem).unwrap()
}

/// A token whose header and claims are any JSON, signed with HMAC.
fn hs256(header: &Value, claims: &Value, key: &[u8]) -> String {
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = EncodingKey::from_secret(key);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn claims() -> Value {
    json!({ "sub": UserId::new().to_string(), "exp": now() + 60 })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn a_token_names_its_user_and_session() {
    let (user, session) = (UserId::new(), Uuid::now_v7());
    let token = Signer::new(&secret(SECRET), 60).sign(user, session).unwrap();
    let claims = Verifier::new(&secret(SECRET)).verify(&token).unwrap();
    assert_eq!((claims.user, claims.session_id), (user, Some(session)));
    assert!((claims.expires_at.unix_timestamp() - now() - 60).abs() <= 1);
}

#[test]
fn a_token_of_another_maker_with_the_secret_is_good() {
    let plain = json!({ "alg": "HS256" });
    let verifier = Verifier::new(&secret(SECRET));
    let good = [
        claims(),
        with(claims(), "iss", json!("omnichat")),
        with(claims(), "aud", json!("omnichat")),
        with(claims(), "aud", json!(["x", "omnichat"])),
        with(claims(), "type", json!("access")),
        with(claims(), "iat", json!(now() + 20)),
        with(claims(), "role", json!("admin")),
    ];
    for claims in good {
        let token = hs256(&plain, &claims, SECRET.as_bytes());
        assert!(verifier.verify(&token).is_ok(), "{claims}");
        let token = hs256(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, SECRET.as_bytes());
        assert!(verifier.verify(&token).is_ok(), "{claims}");
    }
}

#[test]
fn wrong_claims_are_refused() {
    let plain = json!({ "alg": "HS256", "typ": "JWT" });
    let bad = [
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!([now() + 60])),
        ("exp", json!(true)),
        ("nbf", json!(now() + 90)),
        ("iat", json!(now() + 90)),
        ("iat", json!("now")),
        ("sub", Value::Null),
        ("sub", json!("root")),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("' or 1=1 --")),
        ("sub", json!("*")),
        ("sid", json!("not a session")),
        ("iss", json!("somebody else")),
        ("aud", json!("somebody else")),
        ("aud", json!(["x", "y"])),
        ("aud", json!(7)),
        ("type", json!("refresh")),
        ("token_type", json!("refresh")),
    ];
    for (name, value) in bad {
        let claims = with(claims(), name, value);
        let token = hs256(&plain, &claims, SECRET.as_bytes());
        assert_eq!(Verifier::new(&secret(SECRET)).verify(&token), Err(TokenError::Invalid), "{claims}");
    }
    let missing = hs256(&plain, &json!({ "sub": UserId::new().to_string() }), SECRET.as_bytes());
    assert_eq!(Verifier::new(&secret(SECRET)).verify(&missing), Err(TokenError::Invalid));
    let stale = hs256(&plain, &with(claims(), "exp", json!(now() - 60)), SECRET.as_bytes());
    assert_eq!(Verifier::new(&secret(SECRET)).verify(&stale), Err(TokenError::Expired));
    let overflow = format!(r#"{{"sub":"{}","exp":1e400}}"#, UserId::new());
    let message = format!("{}.{}", BASE64.encode(plain.to_string()), BASE64.encode(overflow));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    let token = format!("{message}.{signature}");
    assert_eq!(Verifier::new(&secret(SECRET)).verify(&token), Err(TokenError::Invalid));
}

#[test]
fn wrong_headers_and_keys_are_refused() {
    let (own, strange) = (key(1), key(2));
    let both = Verifier::of(Some(&secret(SECRET)), vec![own.public().clone()]);
    let kid = own.public().kid();
    let x = own.public().jwk()["x"].as_str().unwrap().to_owned();
    let public_bytes = BASE64.decode(&x).unwrap();
    let good = claims();
    let unsigned =
        |header: Value| format!("{}.{}.", BASE64.encode(header.to_string()), BASE64.encode(good.to_string()));
    let forged = |header: Value, key: &[u8]| hs256(&header, &good, key);
    let cases = [
        unsigned(json!({ "alg": "none" })),
        unsigned(json!({ "alg": "None", "typ": "JWT" })),
        unsigned(json!({ "alg": "none", "kid": kid })),
        forged(json!({ "alg": "none" }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256" }), b"another secret, of sufficient length"),
        forged(json!({ "alg": "HS512" }), SECRET.as_bytes()),
        forged(json!({ "alg": "RS256" }), SECRET.as_bytes()),
        // The public key taken for a shared secret, in each form somebody could take it.
        forged(json!({ "alg": "HS256", "kid": kid }), &public_bytes),
        forged(json!({ "alg": "HS256", "kid": kid }), x.as_bytes()),
        forged(json!({ "alg": "HS256" }), &public_bytes),
        forged(json!({ "alg": "EdDSA", "kid": kid }), &public_bytes),
        forged(json!({ "alg": "HS256", "kid": kid }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "kid": "unknown" }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "kid": "" }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "kid": "../../../dev/null" }), b""),
        forged(json!({ "alg": "HS256", "kid": "x' union select 'y" }), b"y"),
        forged(json!({ "alg": "HS256", "kid": 7 }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "jwk": own.public().jwk() }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "jku": "https://evil.example/jwks.json" }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "x5u": "https://evil.example/x.pem" }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "x5c": ["AAAA"] }), SECRET.as_bytes()),
        forged(json!({ "alg": "HS256", "typ": "refresh+jwt" }), SECRET.as_bytes()),
        Signer::with_key(&strange, 60).sign(UserId::new(), Uuid::now_v7()).unwrap(),
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        "\u{0}.\u{0}.\u{0}".into(),
        "x".repeat(65_536),
    ];
    for token in cases {
        assert_eq!(both.verify(&token), Err(TokenError::Invalid), "{token:.120}");
    }
    let signed = Signer::with_key(&own, 60).sign(UserId::new(), Uuid::now_v7()).unwrap();
    let (message, _) = signed.rsplit_once('.').unwrap();
    for broken in [format!("{message}."), format!("{signed}x"), signed.replacen('.', "", 1)] {
        assert_eq!(both.verify(&broken), Err(TokenError::Invalid));
    }
}

#[test]
fn keys_are_rotated_without_a_refused_token() {
    let [previous, current, next] = [key(1), key(2), key(3)];
    let set = [&previous, &current, &next].map(|key| key.public().clone()).to_vec();
    let verifier = Verifier::of(None, set);
    for key in [&previous, &current, &next] {
        let token = Signer::with_key(key, 60).sign(UserId::new(), Uuid::now_v7()).unwrap();
        assert!(verifier.verify(&token).is_ok());
    }
    let secret_token = Signer::new(&secret(SECRET), 60).sign(UserId::new(), Uuid::now_v7()).unwrap();
    assert_eq!(verifier.verify(&secret_token), Err(TokenError::Invalid), "the secret was not configured");
    let later = Verifier::of(None, vec![current.public().clone()]);
    let token = Signer::with_key(&previous, 60).sign(UserId::new(), Uuid::now_v7()).unwrap();
    assert_eq!(later.verify(&token), Err(TokenError::Invalid), "the key was taken away");
}

#[test]
fn a_short_secret_is_refused() {
    assert!(Secret::new("x".repeat(31).into()).is_err());
}
