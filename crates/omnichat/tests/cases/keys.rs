//! Case 91: files of keys that sign, and that must not.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use testkit::folder::Folder;

use crate::{
    Table,
    program::{Ended, SECRET, end, omnichat},
};

/// PKCS#8 up to the 32 bytes of an Ed25519 key, and of an X25519 key, which cannot sign.
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const X25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";
const SIGNING: &str = "OMNICHAT__IDENTITY__SIGNING_KEY_FILE";
const VERIFYING: &str = "OMNICHAT__IDENTITY__VERIFYING_KEY_FILES";

fn pem(head: &[u8], seed: u8) -> String {
    let body = BASE64_STANDARD.encode([head, &[seed; 32]].concat());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

fn file(folder: &Folder, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

async fn served(signing: &Path, verifying: &[&Path]) -> Ended {
    let listed: Vec<_> = verifying.iter().map(|path| format!("{:?}", path.to_str().unwrap())).collect();
    let listed = format!("[{}]", listed.join(", "));
    let variables = [
        ("JWT_SECRET", SECRET),
        ("JWT_ALGORITHM", "EdDSA"),
        (SIGNING, signing.to_str().unwrap()),
        (VERIFYING, &listed),
    ];
    end(omnichat(&["serve", "auth"], &variables)).await
}

#[tokio::test]
async fn a_key_file_holds_one_good_key_of_its_owners_alone() {
    let folder = Folder::new("keys");
    let good = file(&folder, "good", &pem(ED25519, 1), 0o600);
    let refused = [
        ("that is not there", folder.path().join("nowhere")),
        ("that is a folder", folder.path().to_owned()),
        ("that everybody may read", file(&folder, "open", &pem(ED25519, 1), 0o644)),
        ("that a group may read", file(&folder, "shared", &pem(ED25519, 1), 0o640)),
        ("of another curve", file(&folder, "curve", &pem(X25519, 1), 0o600)),
        ("with two keys", file(&folder, "two", &(pem(ED25519, 1) + &pem(ED25519, 2)), 0o600)),
        ("with no key", file(&folder, "none", "s3cret", 0o600)),
        ("with nothing", file(&folder, "empty", "", 0o600)),
        ("that was cut", file(&folder, "cut", &pem(ED25519, 1)[..60], 0o600)),
    ];
    let mut table = Table::default();
    for (what, path) in &refused {
        table.row(
            91,
            &format!("to sign with, {what}"),
            served(path, &[]).await.refuses("identity.signing_key_file"),
        );
    }
    for (what, path) in refused.iter().filter(|(what, _)| !what.contains("may read")) {
        let ended = served(&good, &[path]).await;
        table.row(91, &format!("to verify with, {what}"), ended.refuses("identity.verifying_key_files"));
    }
    let next = file(&folder, "next", &pem(ED25519, 2), 0o600);
    let twice = served(&good, &[&next, &next]).await;
    table.row(91, "one key twice", twice.refuses("identity.verifying_key_files"));
    // Where the keys are good, the next thing that is missing is told.
    table.row(91, "good keys", served(&good, &[&next]).await.refuses("postgres.url"));
}
