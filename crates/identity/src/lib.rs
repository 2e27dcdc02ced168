//! Who calls. A [`Principal`] is made in two places only: by the [`Verifier`] from a token (the doors), and by the bus from
//! the user token of a subject that the broker authorised (the services). Everything guarded takes one as its first
//! argument, so that a query without an owner does not type-check.

pub mod principal;
pub mod secret;
pub mod token;

pub use principal::Principal;
pub use secret::{Secret, WeakSecret};
pub use token::{Signer, TokenError, Verifier};
