//! What a provider says of a call later, when it is asked: the bill of one whose end we have not seen.

use serde::Deserialize;

use crate::{answer::Usage, error::CallError, lossy::Lossy};

/// A provider's account of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The provider, as in [`Config::providers`](crate::Config::providers).
    pub provider: String,
    /// Its name of the model that was asked.
    pub model: String,
    /// Its own id of the call.
    pub generation_id: String,
    /// What it counted.
    pub usage: Usage,
    /// What that costs by the configured prices, in micro-units of their currency; none without prices.
    pub cost_micros: Option<u64>,
}

/// By what a provider knows a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The id that it gave it.
    ByOwnId,
    /// The id that it was given.
    ByCallId,
}

/// What a provider told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) usage: Usage,
}

/// Reads OpenRouter's account of a generation. The native counts are those that are charged.
pub(crate) fn read(body: &[u8]) -> Result<Told, CallError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        data: Generation<'a>,
    }
    #[derive(Deserialize)]
    struct Generation<'a> {
        #[serde(borrow)]
        id: Lossy<'a>,
        #[serde(borrow)]
        model: Lossy<'a>,
        tokens_prompt: Option<u32>,
        tokens_completion: Option<u32>,
        native_tokens_prompt: Option<u32>,
        native_tokens_completion: Option<u32>,
    }
    let data = serde_json::from_slice::<Envelope<'_>>(body).map_err(|_| CallError::Malformed)?.data;
    let prompt_tokens = data.native_tokens_prompt.or(data.tokens_prompt).ok_or(CallError::Malformed)?;
    let completion_tokens =
        data.native_tokens_completion.or(data.tokens_completion).ok_or(CallError::Malformed)?;
    Ok(Told {
        id: data.id.0.into_owned(),
        model: data.model.0.into_owned(),
        usage: Usage { prompt_tokens, completion_tokens },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_counts_are_charged() {
        let body = br#"{"data":{"id":"gen-1","model":"m","streamed":true,"total_cost":0.0012,"cancelled":true,
            "tokens_prompt":10,"tokens_completion":20,"native_tokens_prompt":11,"native_tokens_completion":null}}"#;
        let told = read(body).unwrap();
        assert_eq!((told.id.as_str(), told.model.as_str()), ("gen-1", "m"));
        assert_eq!(told.usage, Usage { prompt_tokens: 11, completion_tokens: 20 });
    }

    #[test]
    fn what_does_not_count_is_no_account() {
        for body in ["", "{}", r#"{"data":null}"#, r#"{"data":{"id":"g","model":"m","tokens_prompt":1}}"#] {
            assert_eq!(read(body.as_bytes()), Err(CallError::Malformed), "{body}");
        }
    }
}
