//! How a hash is made and read: argon2id at the least cost that OWASP advises. The PBKDF2 hashes of the first OMNICHAT
//! (passlib's `$pbkdf2-sha256$…`) are read as well.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{Error, Result, phc::PasswordHash},
};
use pbkdf2::{Pbkdf2, mcf::PasswordHashRef};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How a hash begins that was made as [`hash`] makes it now.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// A hash of this password, with a salt of its own.
pub fn hash(password: &str) -> Result<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let hash: PasswordHash =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// Whether `hash` is of this password; the cost is what the hash says.
///
/// # Errors
/// The hash cannot be read.
pub fn verify(password: &str, hash: &str) -> Result<bool> {
    let verdict = if hash.starts_with("$pbkdf2-") {
        let hash = PasswordHashRef::new(hash).map_err(|_| Error::EncodingInvalid)?;
        Pbkdf2::SHA256.verify_password(password.as_bytes(), hash)
    } else {
        Argon2::default().verify_password(password.as_bytes(), hash)
    };
    match verdict {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether [`hash`] would make it otherwise now.
pub fn is_outdated(hash: &str) -> bool {
    !hash.starts_with(CURRENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by passlib 1.7.4: `pbkdf2_sha256.hash(…)`.
    const PASSLIB: [(&str, &str); 2] = [
        (
            "correct horse battery staple",
            "$pbkdf2-sha256$29000$cC6ltFYq5fwfAyCkdA4hhA$b8gqI6uWYKiiorIaQSTt68wonadTkPOcpPAnPwffxdw",
        ),
        (
            "pässwörd-ключ",
            "$pbkdf2-sha256$29000$.d9bqzUGwHjPeW.ttZayFg$1ZChZd1H5FO/3YHtRmkvhpHWcDjwxSC7x7cUU3zaYMM",
        ),
    ];

    #[test]
    fn a_new_hash_is_current_and_salted() {
        let (first, second) = (hash("p\u{0}ä 🐎").unwrap(), hash("p\u{0}ä 🐎").unwrap());
        assert!(!is_outdated(&first), "{first}");
        assert_ne!(first, second);
        assert!(verify("p\u{0}ä 🐎", &first).unwrap() && verify("p\u{0}ä 🐎", &second).unwrap());
    }

    #[test]
    fn a_password_counts_to_its_last_byte() {
        let long = "x".repeat(128);
        let hash = hash(&long).unwrap();
        assert!(!verify(&long[..127], &hash).unwrap());
    }

    #[test]
    fn hashes_of_the_first_omnichat_verify_and_are_outdated() {
        for (password, hash) in PASSLIB {
            assert!(verify(password, hash).unwrap());
            assert!(!verify("another password", hash).unwrap());
            assert!(is_outdated(hash));
        }
    }

    #[test]
    fn an_argon2_hash_of_another_cost_verifies_and_is_outdated() {
        let cheaper = Params::new(64, 1, 1, None).unwrap();
        let made: PasswordHash = Argon2::from(cheaper).hash_password(b"p").unwrap();
        assert!(verify("p", &made.to_string()).unwrap());
        assert!(is_outdated(&made.to_string()));
    }

    #[test]
    fn what_is_no_hash_is_an_error_and_never_a_match() {
        for text in ["", "p", "$", "$argon2id$", "$pbkdf2-sha256$", "$pbkdf2-sha256$29000$!$!", "$2b$12$abc"]
        {
            assert!(verify("p", text).is_err(), "{text}");
        }
    }
}
