//! What a message says: its text as it is, or in blocks where there are images.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{
    image::{Images, inline},
    prompt::Message,
    text::Text,
};

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(&'a Text),
    Blocks(Blocks<'a>),
}

/// The images, then the text: so the models see best. How closely they look cannot be said.
pub(super) struct Blocks<'a>(&'a Images, &'a Text);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Image { source: Source<'a> },
    Text { text: &'a Text },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Url { url: &'a Text },
    Base64 { media_type: &'a str, data: &'a str },
}

impl<'a> Content<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        let text = &message.content;
        message.images.as_ref().map_or(Self::Text(text), |images| Self::Blocks(Blocks(images, text)))
    }
}

impl Serialize for Blocks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(images, text) = *self;
        let mut blocks = serializer.serialize_seq(Some(images.len() + 1))?;
        for image in images.iter() {
            let plain = image.url.plain();
            let source = match inline(&plain) {
                Some((media_type, data)) => Source::Base64 { media_type, data },
                None => Source::Url { url: &image.url },
            };
            blocks.serialize_element(&Block::Image { source })?;
        }
        blocks.serialize_element(&Block::Text { text })?;
        blocks.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::image::{Image, ImageDetail};

    #[test]
    fn images_make_blocks_and_nothing_else_does() {
        let plain = Message::user("a \"cat\"?");
        assert_eq!(serde_json::to_value(Content::of(&plain)).unwrap(), "a \"cat\"?");
        let images =
            [("https://example.org/cat.png", Some(ImageDetail::High)), ("data:image/png;base64,aGk=", None)];
        let images = images.map(|(url, detail)| Image { url: url.into(), detail });
        let shown = serde_json::to_value(Content::of(&plain.showing(Images::of(images)))).unwrap();
        let expected = json!([
            { "type": "image", "source": { "type": "url", "url": "https://example.org/cat.png" } },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "aGk=" } },
            { "type": "text", "text": "a \"cat\"?" },
        ]);
        assert_eq!(shown, expected);
    }
}
