//! The wire of Google's Gemini: the model stands in the address, and the end of the body is the last event.

mod content;
mod event;
mod refusal;
mod request;
mod tool;

use reqwest::{Url, header::HeaderName};

use crate::provider::Wire;

/// `streamGenerateContent` of version v1beta, as server-sent events.
pub(crate) const GENERATE_CONTENT: Wire = Wire {
    path: "models",
    of_model: Some(of_model),
    key: (HeaderName::from_static("x-goog-api-key"), ""),
    version: None,
    account: None,
    body: request::body,
    decode: event::decode,
    refusal: refusal::of_response,
};

/// `models/<model>:streamGenerateContent?alt=sse`. The name is one segment, whatever stands in it.
fn of_model(url: &mut Url, model: &str) {
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.push(&format!("{model}:streamGenerateContent"));
    }
    url.set_query(Some("alt=sse"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_one_segment_of_the_address() {
        let address = |model: &str| {
            let mut url = Url::parse("https://generativelanguage.googleapis.com/v1beta/models").unwrap();
            of_model(&mut url, model);
            url.to_string()
        };
        let of = |segment: &str| {
            format!("https://generativelanguage.googleapis.com/v1beta/models/{segment}?alt=sse")
        };
        assert_eq!(address("gemini-x"), of("gemini-x:streamGenerateContent"));
        assert_eq!(address("../a?b#c"), of("..%2Fa%3Fb%23c:streamGenerateContent"));
    }
}
