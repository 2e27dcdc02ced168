//! The passwords that are tried first: the 3,000 most common ones of at least eight characters, in lower case.

use std::{collections::HashSet, sync::LazyLock};

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("most_used.txt").lines().collect());

/// Whether this password is among them, in whatever case.
pub fn is_common(password: &str) -> bool {
    COMMON.contains(password.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_password_is_known_in_any_case() {
        assert!(is_common("password1") && is_common("PassWord1"));
        assert!(!is_common("correct horse battery staple"));
        assert_eq!(COMMON.len(), 3000);
        assert!(COMMON.iter().all(|password| *password == password.to_lowercase()), "they are looked up so");
    }
}
