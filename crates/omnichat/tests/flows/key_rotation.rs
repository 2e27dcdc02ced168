//! Keys that sign tokens are changed while people are logged in.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::{
    Layout, Role, User, World, both_layouts,
    folder::Folder,
    user::{PASSWORD, text},
};

use crate::world;

both_layouts![a_key_is_changed_and_nobody_is_logged_out];

/// PKCS#8 up to the 32 bytes of an Ed25519 key.
const HEAD: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

fn write(folder: &Folder, name: &str, key: u8) {
    let body = BASE64_STANDARD.encode([HEAD, &[key; 32]].concat());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let path = folder.path().join(name);
    fs::write(&path, pem).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

async fn token(world: &World, user: &User) -> String {
    let account = json!({ "email": user.email, "password": PASSWORD });
    text(&world.client().post("/auth/login", account).await.ok()["access_token"])
}

fn kid(token: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    text(&header["kid"])
}

async fn published(world: &World) -> Vec<String> {
    let keys = world.client().get("/.well-known/jwks.json").await.ok();
    keys["keys"].as_array().unwrap().iter().map(|key| text(&key["kid"])).collect()
}

async fn restart(world: &mut World, layout: Layout) {
    world.restart(Role::Auth).await;
    if layout == Layout::ProcessPerRole {
        world.restart(Role::Ingress).await;
    }
}

async fn a_key_is_changed_and_nobody_is_logged_out(layout: Layout) {
    let folder = Folder::new("keys");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // One signs, both verify: what is signed with the next one is good before anybody signs with it.
    for (name, key) in [("signing.pem", 1), ("first.pem", 1), ("second.pem", 2)] {
        write(&folder, name, key);
    }
    let mut world = world(layout)
        .set("identity.jwt_algorithm", "EdDSA")
        .set("identity.signing_key_file", path("signing.pem"))
        .set("identity.verifying_key_files", format!("[{:?}, {:?}]", path("first.pem"), path("second.pem")))
        .start()
        .await;
    let ana = world.user().await;
    let old = token(&world, &ana).await;
    assert_eq!(published(&world).await.len(), 2);
    assert_eq!(published(&world).await[0], kid(&old));

    write(&folder, "signing.pem", 2);
    restart(&mut world, layout).await;
    let new = token(&world, &ana).await;
    assert_ne!(kid(&old), kid(&new));
    for token in [&old, &new] {
        world.client().with_token(token).get("/auth/me").await.ok();
        world.try_nats(token, &ana.id).await.unwrap();
    }

    // The old one is taken away, and another is to come.
    write(&folder, "first.pem", 3);
    restart(&mut world, layout).await;
    world.client().with_token(&new).get("/auth/me").await.ok();
    world.client().with_token(&old).get("/auth/me").await.fault(401, "invalid_token");
    assert!(world.try_nats(&old, &ana.id).await.is_err());
    let shown = published(&world).await;
    assert!(shown.contains(&kid(&new)) && !shown.contains(&kid(&old)) && shown.len() == 2, "{shown:?}");
}
