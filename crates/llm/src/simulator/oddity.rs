//! Responses that are no answer and no error: what stands at the address of a provider that is another one, or none.

use std::{io, iter};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use futures::stream;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use super::script::Script;

/// The head of a gzip file, and a block that begins with one blank.
const BOMB: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0x52];
/// "The last byte 258 times more", eight times over.
const BOMB_GOES_ON: &[u8] = &[0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x82, 0x51, 0x30, 0x0a, 0x46, 0xc1, 0x28];
const BOMB_FRAMES: usize = 100;

/// What a script wants to be answered instead of an answer.
pub(super) fn instead(script: &Script) -> Option<Response> {
    if let Some(location) = script.redirect.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
        return Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response());
    }
    if script.page {
        return Some(Html("<!doctype html>\n<title>Welcome</title>\n<p>It works.\n").into_response());
    }
    script.gzip_bomb.then(|| {
        let frames = iter::repeat_n(Bytes::from(BOMB_GOES_ON.repeat(1000)), BOMB_FRAMES);
        let frames = iter::once(Bytes::from_static(BOMB)).chain(frames).map(io::Result::Ok);
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CONTENT_ENCODING, "gzip")];
        (headers, Body::from_stream(stream::iter(frames))).into_response()
    })
}

/// A response of which no byte is sent: its connection closes.
pub(super) fn nothing() -> Response {
    // The server has not written the head yet when the body fails.
    let failure: io::Result<Bytes> = Err(io::ErrorKind::ConnectionReset.into());
    Body::from_stream(stream::iter([failure])).into_response()
}

/// The value of `Retry-After` that a script wants.
pub(super) fn retry_after(script: &Script) -> Option<HeaderValue> {
    let text = match (script.retry_after_date, &script.retry_after) {
        (Some(seconds), _) => {
            let at = OffsetDateTime::now_utc() + Duration::seconds(seconds.into());
            at.format(&Rfc2822).ok()?.replace("+0000", "GMT")
        }
        (None, Some(verbatim)) => verbatim.to_string(),
        (None, None) => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// What a provider says that tells its client all it knows.
pub(super) fn echo(headers: &HeaderMap, said: &str) -> String {
    let names = [
        header::AUTHORIZATION,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("x-goog-api-key"),
    ];
    let keys = names.iter().filter_map(|name| headers.get(name)?.to_str().ok());
    let keys: Vec<_> = keys.collect();
    format!("The key {} may not say: {said}", keys.join(" "))
}
