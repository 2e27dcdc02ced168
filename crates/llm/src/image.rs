//! Images beside a text.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::Text;

/// An image. Whoever calls the model hands it on; the provider fetches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Where it is, or itself: `data:image/png;base64,…`.
    pub url: Text,
    /// How closely to look at it, where the model can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<ImageDetail>,
}

/// The media type and the base64 of an image that is in its address itself.
pub(crate) fn inline(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

/// How closely to look at an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageDetail {
    /// As the model thinks best.
    Auto,
    /// Roughly.
    Low,
    /// Closely.
    High,
}

/// One image or more, in their order. Cheap to clone: they go out again with every turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images(Arc<[Image]>);

impl Images {
    /// None of no image.
    pub fn of(images: impl IntoIterator<Item = Image>) -> Option<Self> {
        let images: Arc<[Image]> = images.into_iter().collect();
        (!images.is_empty()).then_some(Self(images))
    }

    /// Bytes of their addresses.
    pub fn bytes(&self) -> usize {
        self.iter().map(|image| image.url.len()).sum()
    }
}

impl Deref for Images {
    type Target = [Image];

    fn deref(&self) -> &[Image] {
        &self.0
    }
}

impl Serialize for Images {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Images {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Image>::deserialize(deserializer).map(|images| Self(images.into()))
    }
}
