//! What access tokens are signed with, and verified by.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use host::ConfigError;
use identity::{PrivateKey, PublicKey, Secret, Signer, Verifier};
use secrecy::SecretString;

/// Section `[identity]`.
#[derive(Debug, Clone, confique::Config)]
pub struct IdentityConfig {
    /// The shared secret that signs tokens, at least 32 bytes; also JWT_SECRET. `omnichat up` makes one by itself.
    pub jwt_secret: Option<SecretString>,

    /// How tokens are signed: HS256 with the secret, or EdDSA with the key of `signing_key_file`.
    #[config(default = "HS256")]
    pub jwt_algorithm: JwtAlgorithm,

    /// The Ed25519 key that signs, in PEM (PKCS#8), readable by its owner alone; the role auth needs it. Its public half
    /// verifies.
    pub signing_key_file: Option<PathBuf>,

    /// More Ed25519 keys that verify, public or private, in PEM: the one before and the one to come, while keys are changed.
    #[config(default = [])]
    pub verifying_key_files: Vec<PathBuf>,

    /// With EdDSA: whether tokens signed with the secret are good as well.
    #[config(default = false)]
    pub accept_hs256: bool,
}

/// An algorithm that signs tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, with a secret that all who sign and verify share.
    HS256,
    /// Ed25519: who verifies cannot sign.
    EdDSA,
}

impl IdentityConfig {
    /// Makes tokens that live so many seconds.
    ///
    /// # Errors
    /// The key that is needed is missing, weak or unusable; named by its key in the configuration, without its value.
    pub fn signer(&self, life_s: u32) -> Result<Signer, ConfigError> {
        match self.jwt_algorithm {
            JwtAlgorithm::HS256 => Ok(Signer::new(&self.secret()?, life_s)),
            JwtAlgorithm::EdDSA => {
                let missing = || ConfigError::new("identity.signing_key_file", "is required with EdDSA");
                let key = self.signing_key()?.ok_or_else(missing)?;
                Ok(Signer::with_key(&key, life_s))
            }
        }
    }

    /// Reads tokens.
    ///
    /// # Errors
    /// As [`IdentityConfig::signer`]; and with EdDSA, if there is no key at all, or one is listed twice.
    pub fn verifier(&self) -> Result<Verifier, ConfigError> {
        if self.jwt_algorithm == JwtAlgorithm::HS256 {
            return Ok(Verifier::new(&self.secret()?));
        }
        const LIST: &str = "identity.verifying_key_files";
        let mut keys: Vec<_> = self.signing_key()?.into_iter().map(|key| key.public().clone()).collect();
        let mut listed = BTreeSet::new();
        for path in &self.verifying_key_files {
            let pem = read(LIST, path)?;
            let unusable = |error| ConfigError::new(LIST, format!("{}: {error}", path.display()));
            let key = PublicKey::from_pem(&pem).map_err(unusable)?;
            if !listed.insert(key.kid().to_owned()) {
                return Err(ConfigError::new(LIST, format!("{}: this key is listed twice", path.display())));
            }
            if keys.iter().all(|known| known.kid() != key.kid()) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(ConfigError::new(LIST, "or identity.signing_key_file is required with EdDSA"));
        }
        let secret = if self.accept_hs256 { Some(self.secret()?) } else { None };
        Ok(Verifier::of(secret.as_ref(), keys))
    }

    fn secret(&self) -> Result<Secret, ConfigError> {
        let wrong = |problem: String| {
            ConfigError::new("identity.jwt_secret", problem)
                .advice("set JWT_SECRET, for example to the output of `openssl rand -hex 32`")
        };
        let secret = self.jwt_secret.clone().ok_or_else(|| wrong("is required".into()))?;
        Secret::new(secret).map_err(|weak| wrong(weak.to_string()))
    }

    fn signing_key(&self) -> Result<Option<PrivateKey>, ConfigError> {
        const KEY: &str = "identity.signing_key_file";
        let Some(path) = &self.signing_key_file else { return Ok(None) };
        let pem = read(KEY, path)?;
        let mode = fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
        if mode & 0o077 != 0 {
            let wrong = format!("{} can be read by others than its owner", path.display());
            return Err(ConfigError::new(KEY, wrong).advice("chmod 600"));
        }
        let key = PrivateKey::from_pem(&pem)
            .map_err(|error| ConfigError::new(KEY, format!("{}: {error}", path.display())))?;
        Ok(Some(key))
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| {
        ConfigError::new(key, format!("{} cannot be read: {}", path.display(), error.kind()))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, io::Write};

    use super::*;

    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    fn config(signing: Option<&Path>, verifying: &[&Path]) -> IdentityConfig {
        IdentityConfig {
            jwt_secret: None,
            jwt_algorithm: JwtAlgorithm::EdDSA,
            signing_key_file: signing.map(Path::to_owned),
            verifying_key_files: verifying.iter().map(|path| path.to_path_buf()).collect(),
            accept_hs256: false,
        }
    }

    fn file(name: &str, text: &str, mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("omnichat-{}-{name}", std::process::id()));
        fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_weak_secret_is_named_and_not_shown() {
        let weak = IdentityConfig {
            jwt_secret: Some("short".to_owned().into()),
            jwt_algorithm: JwtAlgorithm::HS256,
            ..config(None, &[])
        };
        for error in [weak.signer(60).err(), weak.verifier().err()] {
            let error = error.unwrap().to_string();
            assert!(error.contains("identity.jwt_secret") && !error.contains("short"), "{error}");
        }
    }

    #[test]
    fn a_key_file_that_will_not_do_is_named_and_not_shown() {
        let good = file("good.pem", PRIVATE, 0o600);
        let open = file("open.pem", PRIVATE, 0o644);
        let two = file("two.pem", &PRIVATE.repeat(2), 0o600);
        let none = file("none.pem", "", 0o600);
        let absent = Path::new("/nowhere/key.pem");
        assert!(config(Some(&good), &[]).signer(60).is_ok());
        assert!(config(Some(&good), &[&good]).verifier().is_ok(), "the one that signs may be listed too");
        let signing = [
            (None, "is required"),
            (Some(&*open), "read by others"),
            (Some(&*two), "one key"),
            (Some(&*none), "one key"),
            (Some(absent), "cannot be read"),
        ];
        for (path, words) in signing {
            let error = config(path, &[]).signer(60).err().unwrap().to_string();
            assert!(error.contains("identity.signing_key_file") && error.contains(words), "{error}");
            assert!(!error.contains("MC4CAQ"), "{error}");
        }
        let verifying: [(&[&Path], _); 3] =
            [(&[], "is required"), (&[&*good, &*open], "listed twice"), (&[absent], "cannot be read")];
        for (paths, words) in verifying {
            let error = config(None, paths).verifier().err().unwrap().to_string();
            assert!(error.contains("identity.verifying_key_files") && error.contains(words), "{error}");
        }
        [good, open, two, none].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
