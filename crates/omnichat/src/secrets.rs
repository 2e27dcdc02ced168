//! The secrets of one data dir, made once.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use bus::{CalloutKeys, connection::CalloutConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// What `omnichat up` keeps to itself. Nobody but the owner of the data dir can read the file.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    jwt_secret: String,
    nats: String,
    /// Seeds of the callout's keys; absent in what older versions wrote.
    #[serde(default)]
    issuer_seed: String,
    #[serde(default)]
    curve_seed: String,
}

impl Secrets {
    /// The secrets of `data_dir`; made, if there are none.
    pub fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("secrets.json");
        match fs::read(&path) {
            Ok(text) => {
                let secrets: Self = serde_json::from_slice(&text)
                    .with_context(|| format!("{} is not readable as JSON", path.display()))?;
                if secrets.issuer_seed.is_empty() {
                    secrets.with_callout()?.write(&path)
                } else {
                    Ok(secrets)
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make()?.write(&path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Those of `data_dir`, which is another process's.
    pub fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("secrets.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not readable as JSON", path.display()))
    }

    fn make() -> anyhow::Result<Self> {
        let (issuer_seed, curve_seed) = (String::new(), String::new());
        Self { jwt_secret: random(), nats: random(), issuer_seed, curve_seed }.with_callout()
    }

    fn with_callout(self) -> anyhow::Result<Self> {
        let seeds = CalloutKeys::random().seeds().context("new keys have no seeds")?;
        let text =
            |seed: Option<SecretString>| seed.map(|seed| seed.expose_secret().to_owned()).unwrap_or_default();
        Ok(Self { issuer_seed: text(seeds.issuer_seed), curve_seed: text(seeds.curve_seed), ..self })
    }

    /// Either the old file is there or the new one, whole.
    fn write(self, path: &Path) -> anyhow::Result<Self> {
        let written = path.with_extension("new");
        let _ = fs::remove_file(&written);
        let context = || format!("cannot write {}", path.display());
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&written)
            .with_context(context)?;
        file.write_all(&serde_json::to_vec_pretty(&self)?)?;
        file.sync_all()?;
        fs::rename(&written, path).with_context(context)?;
        Ok(self)
    }

    /// Signs tokens.
    pub fn jwt(&self) -> SecretString {
        self.jwt_secret.clone().into()
    }

    /// The password of a role's NATS user.
    pub fn nats(&self, role: &str) -> String {
        format!("{role}-{}", self.nats)
    }

    /// The seeds of the callout's keys.
    pub fn callout(&self) -> CalloutConfig {
        let seed = |seed: &str| Some(SecretString::from(seed.to_owned()));
        CalloutConfig { issuer_seed: seed(&self.issuer_seed), curve_seed: seed(&self.curve_seed) }
    }
}

/// 256 random bits, as 64 hexadecimal digits.
fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
