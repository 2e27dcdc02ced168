//! Images beside the text of a message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{check::Checks, limits};

/// An image. It is handed on to the model's provider, who may fetch it; this program never does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Where it is (`https://…`), or itself: `data:image/png;base64,…`, also of jpeg, gif and webp.
    #[schemars(regex(pattern = URL), example = &"https://example.org/cat.png")]
    pub url: String,
    /// How closely the model looks at it, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<ImageDetail>,
}

/// How closely a model looks at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageDetail {
    /// As it thinks best.
    Auto,
    /// Roughly.
    Low,
    /// Closely.
    High,
}

/// An address, or an image itself. Within the latter a matcher sees characters only.
const URL: &str = r"^(https://[^/?#\s\x00-\x1f][^\s\x00-\x1f]*|data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2})$";

pub(crate) fn check_images(checks: &mut Checks, images: &[Image]) {
    if images.len() > limits::IMAGES_MAX {
        checks.error("images", "out_of_range", format!("must be at most {}", limits::IMAGES_MAX));
    }
    let bytes: usize = images.iter().map(|image| image.url.len()).sum();
    if bytes > limits::IMAGES_BYTES_MAX {
        let most = limits::IMAGES_BYTES_MAX;
        checks.error(
            "images",
            "too_long",
            format!("must have at most {most} bytes in their addresses together"),
        );
    }
    for (place, _) in images.iter().enumerate().filter(|(_, image)| !is_image(&image.url)) {
        checks.error(
            &format!("images[{place}].url"),
            "invalid_value",
            "must begin with https://, or be data:image/png;base64,… (or jpeg, gif, webp)",
        );
    }
}

fn is_image(url: &str) -> bool {
    if let Some(rest) = url.strip_prefix("https://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return !host.is_empty() && !url.chars().any(|c| c.is_whitespace() || c.is_control());
    }
    let Some((kind, data)) = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"))
    else {
        return false;
    };
    matches!(kind, "png" | "jpeg" | "gif" | "webp") && is_base64(data)
}

/// In the alphabet that addresses of data have, whole, and not empty. Not decoded: it is not for us to look at.
fn is_base64(data: &str) -> bool {
    let digits = data.strip_suffix("==").or_else(|| data.strip_suffix('=')).unwrap_or(data);
    let digit = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
    !digits.is_empty() && data.len().is_multiple_of(4) && digits.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Encoding, SendMessage};

    fn send(images: &Value) -> Result<SendMessage, (String, String)> {
        let body = json!({ "content": "What is it?", "images": images }).to_string();
        Encoding::Json.decode(body.as_bytes()).map_err(|fault| {
            let error = &fault.errors[0];
            (error.field.to_string(), error.code.to_string())
        })
    }

    fn refused(images: &Value) -> (String, String) {
        send(images).unwrap_err()
    }

    #[test]
    fn an_image_is_an_address_or_itself() {
        let good = [
            "https://example.org/cat.png",
            "https://example.org",
            "https://example.org/a?b=%20c#d",
            "data:image/png;base64,aGk=",
            "data:image/jpeg;base64,aGkh",
            "data:image/gif;base64,aA==",
            "data:image/webp;base64,+/+/",
        ];
        let bad = [
            "",
            "http://example.org/cat.png",
            "HTTPS://example.org",
            "https://",
            "https:///cat.png",
            "https://example.org/a b",
            "https://example.org/\n",
            "https://example.org/\u{0}",
            "file:///etc/passwd",
            "data:image/svg+xml;base64,aGk=",
            "data:image/png;base64,",
            "data:image/png;base64,===",
            "data:image/png;base64,aGk",
            "data:image/png;base64,a-_=",
            "data:image/png,aGk=",
            "data:text/html;base64,aGk=",
        ];
        for url in good {
            let message = send(&json!([{ "url": url, "detail": "low" }])).unwrap();
            let image = Image { url: url.to_owned(), detail: Some(ImageDetail::Low) };
            assert_eq!(message.images, Some(vec![image]));
        }
        for url in bad {
            assert_eq!(
                refused(&json!([{ "url": url }])),
                ("images[0].url".into(), "invalid_value".into()),
                "{url:?}"
            );
        }
        assert_eq!(refused(&json!([{ "url": good[0], "detail": "max" }])).0, "images[0].detail");
        assert_eq!(refused(&json!([{ "uri": good[0] }])), ("images[0].uri".into(), "unknown_field".into()));
    }

    #[test]
    fn images_are_bounded_in_number_and_together() {
        let image = json!({ "url": "https://example.org/cat.png" });
        send(&json!(vec![image.clone(); limits::IMAGES_MAX])).unwrap();
        let too_many = json!(vec![image; limits::IMAGES_MAX + 1]);
        assert_eq!(refused(&too_many), ("images".into(), "out_of_range".into()));
        let half = |bytes: usize| {
            let begin = "https://example.org/";
            json!({ "url": format!("{begin}{}", "x".repeat(bytes - begin.len())) })
        };
        let most = limits::IMAGES_BYTES_MAX / 2;
        send(&json!([half(most), half(most)])).unwrap();
        assert_eq!(refused(&json!([half(most), half(most + 1)])), ("images".into(), "too_long".into()));
    }
}
