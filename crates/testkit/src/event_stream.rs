//! A stream of server-sent events, as a client sees it.

use reqwest::Response;
use serde_json::Value;

use crate::user::text;

/// An open stream; closed when it is dropped.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    unread: Vec<u8>,
    /// The last reconnection time that was told, in milliseconds.
    pub retry_ms: Option<u64>,
    /// Comments that came.
    pub comments: usize,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// What the stream can be picked up by; empty if there is nothing yet.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its data, as JSON.
    pub data: Value,
}

/// What the deltas make, for who drops what `restarted` makes void.
///
/// # Panics
/// If a delta does not begin where the text so far ends.
pub fn shown(events: &[StreamEvent]) -> String {
    events.iter().fold(String::new(), |mut shown, event| {
        match event.name.as_str() {
            "delta" => {
                assert_eq!(event.data["offset"], shown.len(), "{event:?}");
                shown.push_str(&text(&event.data["text"]));
            }
            "restarted" => shown.clear(),
            _ => {}
        }
        shown
    })
}

impl EventStream {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, unread: Vec::new(), retry_ms: None, comments: 0 }
    }

    /// A header of the answer; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next event; none when the stream has ended.
    ///
    /// # Panics
    /// If the connection breaks, or what comes is no event.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        self.try_next().await.expect("the stream goes on, or ends in order")
    }

    /// As [`EventStream::next`]; fails if the connection breaks. Safe to cancel.
    ///
    /// # Panics
    /// If what comes is no event.
    pub async fn try_next(&mut self) -> reqwest::Result<Option<StreamEvent>> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<_> = self.unread.drain(..end + 2).collect();
                if let Some(event) = self.read(std::str::from_utf8(&block).unwrap()) {
                    return Ok(Some(event));
                }
            }
            match self.response.chunk().await? {
                Some(more) => self.unread.extend(more),
                None => return Ok(None),
            }
        }
    }

    /// All events that are still to come, when the stream has ended.
    pub async fn rest(&mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        assert!(self.unread.is_empty(), "it ends within an event");
        events
    }

    /// A block without data is a comment, a hint, or both.
    fn read(&mut self, block: &str) -> Option<StreamEvent> {
        let (mut id, mut name, mut data) = (None, None, None);
        for line in block.trim_end().lines() {
            match line.split_once(':').expect("a field or a comment") {
                ("", _) => self.comments += 1,
                ("id", value) => id = Some(value.trim_start().to_owned()),
                ("event", value) => name = Some(value.trim_start().to_owned()),
                ("data", value) => data = Some(serde_json::from_str(value).unwrap()),
                ("retry", value) => self.retry_ms = Some(value.trim_start().parse().unwrap()),
                (field, _) => panic!("the field {field}"),
            }
        }
        Some(StreamEvent { data: data?, id: id.unwrap_or_default(), name: name.expect("a name") })
    }
}
