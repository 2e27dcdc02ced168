//! A reader of a turn's events. It checks of each frame that it goes on where the last one ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Ids of a text count from here; the first attempt is the only one, as nothing fails.
const TEXT: u64 = 10_000_001;

/// When each part of each turn's text was told, by where it ends; and how much later readers had it.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    told: HashMap<(String, u64), Instant>,
    delays_us: Vec<u32>,
    counts: bool,
}

impl Clock {
    /// The part of a turn's text that ends here is told.
    pub fn told(&self, turn: &str, end: u64) {
        self.lock().told.insert((turn.to_owned(), end), Instant::now());
    }

    /// A reader has it.
    fn read(&self, turn: &str, end: u64) {
        let mut times = self.lock();
        if times.counts
            && let Some(told) = times.told.get(&(turn.to_owned(), end)).map(Instant::elapsed)
        {
            times.delays_us.push(told.as_micros().try_into().unwrap_or(u32::MAX));
        }
    }

    /// From now on delays count, or no longer; gives those that did.
    pub fn count(&self, counts: bool) -> Vec<u32> {
        let mut times = self.lock();
        times.counts = counts;
        std::mem::take(&mut times.delays_us)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads to the end.
pub struct Reader {
    /// Of which turn.
    pub turn: String,
    /// Knows when things were told.
    pub clock: Arc<Clock>,
    /// What is still to be read of a frame.
    unread: Vec<u8>,
    /// Bytes of text that were told.
    shown: u64,
    ended: bool,
}

impl Reader {
    /// One who has nothing yet.
    pub fn new(turn: String, clock: Arc<Clock>) -> Self {
        Self { turn, clock, unread: Vec::new(), shown: 0, ended: false }
    }

    /// Reads all frames, and gives how many bytes of text there were.
    ///
    /// # Errors
    /// A frame is missing, comes twice, or the stream ends before the turn.
    pub async fn read(mut self, mut body: Incoming) -> anyhow::Result<u64> {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.take(&data)?;
            }
        }
        ensure!(self.ended, "the stream of {} ended after {} bytes", self.turn, self.shown);
        Ok(self.shown)
    }

    fn take(&mut self, data: &Bytes) -> anyhow::Result<()> {
        self.unread.extend_from_slice(data);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
            self.take_frame(&rest[..end])?;
            rest = &rest[end + 2..];
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    /// `id: <turn>:<number>`, `event: <name>`, `data: {…,"offset":<from>}`
    fn take_frame(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let frame = std::str::from_utf8(frame)?;
        let Some(rest) = frame.strip_prefix("id: ") else { return Ok(()) };
        let (id, rest) = rest.split_once('\n').context("an id alone")?;
        let number: u64 = id.rsplit(':').next().unwrap_or_default().parse()?;
        let name = rest.strip_prefix("event: ").and_then(|rest| rest.split('\n').next()).unwrap_or_default();
        match name {
            "delta" => {
                let offset = frame.rsplit_once("\"offset\":").context("a delta without an offset")?.1;
                let offset: u64 = offset.split([',', '}']).next().unwrap_or_default().parse()?;
                ensure!(offset == self.shown, "{}: at {} came {offset}", self.turn, self.shown);
                self.shown = number - TEXT;
                self.clock.read(&self.turn, self.shown);
            }
            "completed" => self.ended = true,
            "failed" | "cancelled" | "restarted" => bail!("{}: {frame}", self.turn),
            _ => {}
        }
        Ok(())
    }
}
