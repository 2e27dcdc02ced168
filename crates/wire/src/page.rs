//! Lists, a page at a time. A cursor names the last entry of a page, and the list it belongs to: entries that come or go
//! meanwhile move no other entry to another page.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Fault, FaultCode, OperationInfo, UserId,
    check::{Checks, Request},
    limits,
};

/// Which part of a list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPage {
    /// The most entries wanted, 1 to 1,000; absent: 1,000. A page may have fewer, as it also has to fit into one reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ENTRIES_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended, as that page told; absent: the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListPage {
    /// The most entries to give.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_ENTRIES_MAX)
    }
}

/// Part of a list. As a body it is the bare array of its entries; the cursor travels beside it (HTTP: `Link`, NATS:
/// `Oc-Next`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl<T: Serialize> Serialize for Page<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Page<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("PageOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "items": entry, "maxItems": limits::PAGE_ENTRIES_MAX })
    }
}

impl<T> Page<T> {
    /// A list that always fits.
    pub const fn whole(entries: Vec<T>) -> Self {
        Self { entries, next: None }
    }

    /// The page of a query that was asked for one entry more than `limit`: that one is cut off, and tells that there is a
    /// next page, which begins after the last entry left.
    pub fn cut(mut entries: Vec<T>, limit: u32, list: &List, position: impl Fn(&T) -> Uuid) -> Self {
        let limit = limit as usize;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more).map(position);
        Self { next: last.map(|last| list.cursor(last)), entries }
    }

    /// The same page of other entries.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { entries: self.entries.into_iter().map(change).collect(), next: self.next }
    }
}

/// What an answer says beside its body.
pub trait Reply: Serialize {
    /// Where the next page begins.
    fn next(&self) -> Option<&str> {
        None
    }
}

macro_rules! replies {
    ($($name:ident),+ $(,)?) => {$(impl Reply for crate::$name {})+};
}

replies!(
    Answer,
    Conversation,
    Done,
    Identity,
    Project,
    Prompt,
    PromptLabel,
    PromptVersion,
    RenderedPrompt,
    Session,
    ShownApiKey,
    Turn,
    User,
    Validity,
);

impl<T: Serialize> Reply for Page<T> {
    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

/// A list that pages are taken of: whose it is, which operation gives it, and what it is a list of.
#[derive(Debug, Clone)]
pub struct List {
    tag: [u8; TAG_BYTES],
}

/// Enough that no cursor is taken for one of another list by accident; who makes one up only skips entries of their own.
const TAG_BYTES: usize = 8;

impl List {
    /// The list that `operation` gives `user`; `of` are the ids and choices that make it another list than the next one.
    pub fn new(user: UserId, operation: &OperationInfo, of: &[&dyn std::fmt::Display]) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{user}/{}", operation.name));
        of.iter().for_each(|part| hash.update(format!("/{part}")));
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self { tag }
    }

    /// The cursor behind the entry at `position`.
    pub fn cursor(&self, position: Uuid) -> String {
        BASE64_URL_SAFE_NO_PAD.encode([&self.tag[..], position.as_bytes()].concat())
    }

    /// The entry behind which a page begins; None for the first page.
    ///
    /// # Errors
    /// [`FaultCode::InvalidCursor`] for what no page of this list told.
    pub fn position(&self, page: &ListPage) -> Result<Option<Uuid>, Fault> {
        let Some(cursor) = &page.cursor else { return Ok(None) };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let position = bytes.strip_prefix(&self.tag).and_then(|rest| Uuid::from_slice(rest).ok());
        position.map(Some).ok_or(FaultCode::InvalidCursor.into())
    }
}

impl Request for ListPage {
    fn check(&self, checks: &mut Checks) {
        check_page(checks, self.limit);
    }
}

pub(crate) fn check_page(checks: &mut Checks, limit: Option<u32>) {
    if let Some(limit) = limit {
        checks.within("limit", limit, 1, limits::PAGE_ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProjectId, operations};

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let (user, project) = (UserId::new(), ProjectId::new());
        let list = List::new(user, &operations::LIST_PROMPTS.info, &[&project]);
        let position = Uuid::now_v7();
        let page = |cursor: String| ListPage { limit: None, cursor: Some(cursor) };
        assert_eq!(list.position(&page(list.cursor(position))).unwrap(), Some(position));
        assert_eq!(list.position(&ListPage::default()).unwrap(), None);
        let others = [
            List::new(UserId::new(), &operations::LIST_PROMPTS.info, &[&project]),
            List::new(user, &operations::LIST_PROMPTS.info, &[&ProjectId::new()]),
            List::new(user, &operations::LIST_PROJECTS.info, &[&project]),
        ];
        let bad = ["", "x", "%00", &"A".repeat(10_000)].map(str::to_owned);
        for cursor in others.map(|list| list.cursor(position)).into_iter().chain(bad) {
            assert_eq!(list.position(&page(cursor)).unwrap_err().code, FaultCode::InvalidCursor);
        }
    }

    #[test]
    fn a_page_that_is_not_the_last_names_the_next() {
        let list = List::new(UserId::new(), &operations::LIST_PROJECTS.info, &[]);
        let ids: Vec<_> = (0..3).map(|_| Uuid::now_v7()).collect();
        let page = Page::cut(ids.clone(), 2, &list, |id| *id);
        assert_eq!(page.entries, ids[..2]);
        assert_eq!(page.next, Some(list.cursor(ids[1])));
        assert_eq!(Page::cut(ids, 3, &list, |id| *id).next, None);
    }
}
