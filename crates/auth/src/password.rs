//! Passwords: hashed and verified on threads of their own, as each costs 30 ms and 19 MiB.
//!
//! - [`most_used`]: those that nobody may have
//! - [`scheme`]: how a hash is made and read
//! - [`pool`]: the threads, and the bound of who waits for them

pub mod most_used;
pub mod pool;
pub mod scheme;

use std::io;

use secrecy::{ExposeSecret, SecretString};

use self::pool::HashPool;
pub use self::scheme::is_outdated;
use crate::Error;

/// A hash of no password, at the cost of a real one.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y/D7XGTQ5CYowmjKJ/U7Ew$GiPItBlyCPFi84gNHiZAc73rQegnde4qbgvq/aCe9jk";

/// Hashes and verifies passwords, a bounded number at a time.
pub struct Passwords {
    pool: HashPool,
}

impl Passwords {
    /// On `threads` threads, at least one; `queue` passwords may wait for them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(threads: usize, queue: usize) -> io::Result<Self> {
        Ok(Self { pool: HashPool::start(threads, queue)? })
    }

    /// The hash to store.
    ///
    /// # Errors
    /// [`Error::Busy`] at once, when too many wait.
    pub async fn hash(&self, password: SecretString) -> Result<String, Error> {
        Ok(self.pool.run(move || scheme::hash(password.expose_secret())).await??)
    }

    /// Whether `hash` is of this password. Where there is no hash it is not, after the same work: the time it takes tells
    /// nobody which addresses have an account. (Only a hash of the first OMNICHAT is quicker, until its first login.)
    ///
    /// # Errors
    /// [`Error::Busy`] at once, when too many wait; [`Error::Hash`] if the hash cannot be read.
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Error> {
        let exists = hash.is_some();
        let verify = move || scheme::verify(password.expose_secret(), hash.as_deref().unwrap_or(NOBODYS));
        Ok(self.pool.run(verify).await?? && exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_by_its_own_hash_alone() {
        let passwords = Passwords::start(1, 1).unwrap();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("Correct horse".into(), Some(hash)).await.unwrap());
        assert!(matches!(passwords.verify("x".into(), Some("x".into())).await, Err(Error::Hash(_))));
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_hash_too() {
        let passwords = Passwords::start(1, 1).unwrap();
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
        assert_eq!(passwords.pool.hashed(), 1);
        assert!(!is_outdated(NOBODYS), "nobody's hash must cost as much as a new one");
    }
}
