//! What a message says: its text as it is, or in parts where there are images.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{
    image::{Image, ImageDetail, Images},
    prompt::Message,
    text::Text,
};

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(&'a Text),
    Parts(Parts<'a>),
}

/// The text, then the images.
pub(super) struct Parts<'a>(&'a Text, &'a Images);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a Text },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<ImageDetail>,
}

impl<'a> Content<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        let text = &message.content;
        message.images.as_ref().map_or(Self::Text(text), |images| Self::Parts(Parts(text, images)))
    }
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(text, images) = *self;
        let mut parts = serializer.serialize_seq(Some(1 + images.len()))?;
        parts.serialize_element(&Part::Text { text })?;
        for Image { url, detail } in images.iter() {
            parts.serialize_element(&Part::ImageUrl { image_url: ImageUrl { url, detail: *detail } })?;
        }
        parts.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_make_parts_and_nothing_else_does() {
        let plain = Message::user("a \"cat\"?");
        assert_eq!(serde_json::to_value(Content::of(&plain)).unwrap(), "a \"cat\"?");
        let images =
            [("https://example.org/cat.png", Some(ImageDetail::High)), ("data:image/png;base64,aGk=", None)];
        let images = images.map(|(url, detail)| Image { url: url.into(), detail });
        let shown = serde_json::to_value(Content::of(&plain.showing(Images::of(images)))).unwrap();
        let expected = json!([
            { "type": "text", "text": "a \"cat\"?" },
            { "type": "image_url", "image_url": { "url": "https://example.org/cat.png", "detail": "high" } },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } },
        ]);
        assert_eq!(shown, expected);
    }
}
