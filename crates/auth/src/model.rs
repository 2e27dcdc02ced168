//! Addresses and accounts.

use wire::UserId;

/// An e-mail address in lower case: the one form that is stored and looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The address, whatever case it is written in.
    pub fn folded(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// What a login needs to know of an account. It has no `Debug`: the hash must not reach a log.
#[derive(Clone)]
pub struct Account {
    /// Whose it is.
    pub id: UserId,
    /// A PHC string, or one of passlib's.
    pub password_hash: String,
    /// False once it was disabled.
    pub is_active: bool,
}

/// Why nobody was logged in; for the log alone, as clients must not learn which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has this address.
    UnknownEmail,
    /// The account has another password.
    WrongPassword,
    /// The password is right, but the account is disabled.
    Disabled,
}

impl Refusal {
    /// Its name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEmail => "unknown_email",
            Self::WrongPassword => "wrong_password",
            Self::Disabled => "disabled",
        }
    }
}

/// The account that was found by its address, if it may be logged in to.
pub fn admit(found: Option<Account>, password_is_right: bool) -> Result<Account, Refusal> {
    match found {
        None => Err(Refusal::UnknownEmail),
        Some(_) if !password_is_right => Err(Refusal::WrongPassword),
        Some(account) if !account.is_active => Err(Refusal::Disabled),
        Some(account) => Ok(account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(is_active: bool) -> Option<Account> {
        Some(Account { id: UserId::new(), password_hash: String::new(), is_active })
    }

    #[test]
    fn the_case_of_an_address_does_not_matter() {
        assert_eq!(Email::folded("Ana.ÖZ@Example.ORG"), Email::folded("ana.öz@example.org"));
    }

    #[test]
    fn only_the_right_password_of_an_active_account_is_admitted() {
        assert!(admit(account(true), true).is_ok());
        let refusals = [
            (None, false, Refusal::UnknownEmail),
            (None, true, Refusal::UnknownEmail),
            (account(true), false, Refusal::WrongPassword),
            (account(false), false, Refusal::WrongPassword),
            (account(false), true, Refusal::Disabled),
        ];
        for (found, password_is_right, refusal) in refusals {
            assert_eq!(admit(found, password_is_right).err(), Some(refusal));
        }
    }
}
