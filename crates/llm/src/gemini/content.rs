//! What a message says: the images beside its text, and the text.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{prompt::Message, text::Text};

/// The parts of a message. How closely the model looks at an image cannot be said.
pub(super) struct Parts<'a>(pub(super) &'a Message);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Part<'a> {
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: &'a str,
        data: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    FileData {
        file_uri: &'a Text,
    },
    Text(&'a Text),
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let images = self.0.images.as_deref().unwrap_or_default();
        let mut parts = serializer.serialize_seq(Some(images.len() + 1))?;
        for image in images {
            let plain = image.url.plain();
            let data = plain.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
            parts.serialize_element(&match data {
                Some((mime_type, data)) => Part::InlineData { mime_type, data },
                None => Part::FileData { file_uri: &image.url },
            })?;
        }
        parts.serialize_element(&Part::Text(&self.0.content))?;
        parts.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Image, Images};

    #[test]
    fn images_stand_before_their_text() {
        let images = ["data:image/png;base64,aGk=", "https://example.org/a.png"];
        let images = images.map(|url| Image { url: url.into(), detail: None });
        let message = Message { images: Images::of(images), ..Message::user("what is it?") };
        let expected = json!([
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
            {"fileData": {"fileUri": "https://example.org/a.png"}},
            {"text": "what is it?"},
        ]);
        assert_eq!(serde_json::to_value(Parts(&message)).unwrap(), expected);
        assert_eq!(serde_json::to_value(Parts(&Message::user("hi"))).unwrap(), json!([{"text": "hi"}]));
    }
}
