//! The body of a request: bounded, declared as JSON, and otherwise unread.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use host::limit::hit;
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::timeout;
use wire::{
    Fault, FaultCode,
    limit::{BODY_BYTES, BODY_TIME},
    limits::BODY_BYTES_MAX,
};

use crate::{answer::Refusal, door::Door};

/// A body to be handed on; empty if the request has none.
pub(crate) struct JsonBody(pub Bytes);

impl FromRequest<Arc<Door>> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, door: &Arc<Door>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        check_form(&parts.headers, !body.is_end_stream())?;
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, BODY_BYTES_MAX).collect();
        match timeout(door.body_read_timeout, body).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => {
                Err(Fault::because(FaultCode::MalformedRequest, "The body ended before its time").into())
            }
            Err(_) => {
                hit(BODY_TIME.name);
                Err(FaultCode::RequestTimedOut.into())
            }
        }
    }
}

fn too_large() -> Refusal {
    hit(BODY_BYTES.name);
    FaultCode::BodyTooLarge.into()
}

/// A body is declared as JSON, and not packed.
fn check_form(headers: &HeaderMap, has_body: bool) -> Result<(), Fault> {
    let mut declared = headers.get_all(CONTENT_TYPE).iter();
    let json = match (declared.next(), declared.next()) {
        (None, _) => !has_body,
        (Some(media_type), None) => is_json(media_type),
        _ => false,
    };
    let plain = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    match (json, plain) {
        (true, true) => Ok(()),
        (true, false) => {
            Err(Fault::because(FaultCode::UnsupportedMediaType, "Send the body without Content-Encoding"))
        }
        (false, _) => Err(FaultCode::UnsupportedMediaType.into()),
    }
}

/// `application/json`, in UTF-8 if it says so.
fn is_json(media_type: &HeaderValue) -> bool {
    let Ok(text) = media_type.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}
