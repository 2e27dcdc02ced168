//! What travels beside a request: how it is named in logs and traces.

use async_nats::HeaderMap;
use wire::header;

/// The names of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Names it in answers and logs.
    pub request_id: String,
    /// W3C trace context, passed on as it came.
    pub traceparent: Option<String>,
}

/// Longer or stranger ones are replaced: they go into logs.
const NAME_BYTES_MAX: usize = 128;

impl Context {
    /// From a request's headers; a missing or unusable id is made here.
    pub(crate) fn from_headers(headers: Option<&HeaderMap>) -> Self {
        let read = |name: &str| {
            headers?.get(name).map(|value| value.as_str()).filter(|text| is_plain(text)).map(str::to_owned)
        };
        Self {
            request_id: read(header::REQUEST_ID).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            traceparent: read(header::TRACEPARENT),
        }
    }

    pub(crate) fn into_headers(self, headers: &mut HeaderMap) {
        headers.insert(header::REQUEST_ID, self.request_id);
        if let Some(traceparent) = self.traceparent {
            headers.insert(header::TRACEPARENT, traceparent);
        }
    }
}

/// Usable as a name: short, visible ASCII.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
