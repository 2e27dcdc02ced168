//! Who calls. A [`Principal`] is made in two places only: at the doors, of a credential that was proven (a token by the
//! [`Verifier`], an API key by the auth service), and by the bus, of the user token of a subject that the broker
//! authorised (the services). Everything guarded takes one as its first argument, so that a query without an owner does not
//! type-check.
//!
//! - [`principal`]: the caller
//! - [`signer`], [`verifier`], [`claims`]: access tokens; [`secret`], [`key`]: what they are signed with
//! - [`api_key`]: the other credential

pub mod api_key;
pub mod claims;
pub mod key;
pub mod principal;
pub mod secret;
pub mod signer;
pub mod verifier;

pub use api_key::ApiKey;
pub use claims::Claims;
pub use key::{KeyError, PrivateKey, PublicKey, jwks};
pub use principal::Principal;
pub use secret::{Secret, WeakSecret};
pub use signer::Signer;
pub use verifier::{TokenError, Verifier};
