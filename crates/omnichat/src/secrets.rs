//! The secrets of one data dir, made once.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// What `omnichat up` keeps to itself. Nobody but the owner of the data dir can read the file.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    jwt_secret: String,
    nats: String,
    developer: String,
}

impl Secrets {
    /// The secrets of `data_dir`; made, if there are none.
    pub fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("secrets.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is not readable as JSON", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(&path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(path: &Path) -> anyhow::Result<Self> {
        let secrets = Self { jwt_secret: random(), nats: random(), developer: random() };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(&serde_json::to_vec_pretty(&secrets)?)?;
        file.sync_all()?;
        Ok(secrets)
    }

    /// Signs tokens.
    pub fn jwt(&self) -> SecretString {
        self.jwt_secret.clone().into()
    }

    /// The password of a role's NATS user.
    pub fn nats(&self, role: &str) -> String {
        format!("{role}-{}", self.nats)
    }

    /// The password of the NATS user that stands in for people.
    pub fn developer(&self) -> &str {
        &self.developer
    }
}

/// 256 random bits, as 64 hexadecimal digits.
fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
