//! What a message says: parts, of which the images come before the text.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{image::inline, prompt::Message, text::Text};

/// The images, then the text: so the models see best. How closely they look cannot be said.
pub(super) struct Parts<'a>(pub &'a Message);

/// A part has one field, which says what it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Part<'a> {
    Text(&'a Text),
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: &'a str,
        data: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    FileData {
        file_uri: &'a Text,
    },
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { content, images, .. } = self.0;
        let images = images.as_deref().unwrap_or_default();
        let mut parts = serializer.serialize_seq(Some(images.len() + 1))?;
        for image in images {
            let plain = image.url.plain();
            parts.serialize_element(&match inline(&plain) {
                Some((mime_type, data)) => Part::InlineData { mime_type, data },
                None => Part::FileData { file_uri: &image.url },
            })?;
        }
        parts.serialize_element(&Part::Text(content))?;
        parts.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::image::{Image, ImageDetail, Images};

    #[test]
    fn images_stand_before_the_text() {
        let images =
            [("https://example.org/cat.png", Some(ImageDetail::High)), ("data:image/png;base64,aGk=", None)];
        let images = images.map(|(url, detail)| Image { url: url.into(), detail });
        let message = Message::user("a \"cat\"?").showing(Images::of(images));
        let expected = json!([
            { "fileData": { "fileUri": "https://example.org/cat.png" } },
            { "inlineData": { "mimeType": "image/png", "data": "aGk=" } },
            { "text": "a \"cat\"?" },
        ]);
        assert_eq!(serde_json::to_value(Parts(&message)).unwrap(), expected);
    }
}
