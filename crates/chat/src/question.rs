//! What a user asks: a text, and images beside it.

use std::{fmt, sync::Arc};

use llm::{Image, ImageDetail, Images, Message};
use serde_json::Value;

/// A question. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The text.
    pub text: Arc<str>,
    /// The images, if there are any.
    pub images: Option<Images>,
}

impl Question {
    /// As it came.
    pub fn new(text: impl Into<Arc<str>>, images: Option<Vec<wire::Image>>) -> Self {
        let images = images.and_then(|images| Images::of(images.into_iter().map(image)));
        Self { text: text.into(), images }
    }

    /// As it is stored.
    pub fn stored(text: String, images: Option<Value>) -> Self {
        // What was stored by this program can be read.
        let images = images.and_then(|images| serde_json::from_value(images).ok());
        Self { text: text.into(), images }
    }

    /// The images, to be stored.
    pub fn stored_images(&self) -> Option<Value> {
        self.images.as_ref().and_then(|images| serde_json::to_value(images).ok())
    }
}

impl From<&Message> for Question {
    fn from(message: &Message) -> Self {
        Self { text: message.content.plain().into(), images: message.images.clone() }
    }
}

impl From<Question> for Message {
    fn from(question: Question) -> Self {
        Self::user(question.text).showing(question.images)
    }
}

/// The text.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Never shows the text: it belongs to a user, and this is what ends up in logs.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({} bytes, {:?})", self.text.len(), self.images)
    }
}

fn image(image: wire::Image) -> Image {
    let detail = image.detail.map(|detail| match detail {
        wire::ImageDetail::Auto => ImageDetail::Auto,
        wire::ImageDetail::Low => ImageDetail::Low,
        wire::ImageDetail::High => ImageDetail::High,
    });
    Image { url: image.url.into(), detail }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_is_read_as_it_was_stored_and_asked_as_it_came() {
        let cat = wire::Image {
            url: "https://example.org/\"cat\".png".into(),
            detail: Some(wire::ImageDetail::Low),
        };
        let hi = wire::Image { url: "data:image/png;base64,aGk=".into(), detail: None };
        let question = Question::new("What is it?", Some(vec![cat, hi]));
        let stored = question.stored_images().unwrap();
        let expected = json!([{ "url": "https://example.org/\"cat\".png", "detail": "low" },
            { "url": "data:image/png;base64,aGk=" }]);
        assert_eq!(stored, expected);
        assert_eq!(Question::stored("What is it?".into(), Some(stored)), question);
        assert_eq!(Question::from(&Message::from(question.clone())), question);
        assert_eq!(Question::new("hi", Some(vec![])).stored_images(), None, "no images are as none");
    }

    #[test]
    fn it_is_never_printed_for_a_log() {
        let images = vec![wire::Image { url: "https://example.org/secret".into(), detail: None }];
        assert!(!format!("{:?}", Question::new("secret", Some(images))).contains("secret"));
    }
}
