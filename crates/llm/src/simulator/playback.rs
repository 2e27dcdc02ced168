//! Streams an answer's events at their time.

use std::{io, time::Duration};

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::{sync::watch, task::yield_now, time::sleep};

use super::{
    events::{Events, Step},
    log::{Ended, Recording},
};

/// As much is written at once, if nothing separates it.
const FRAME_BYTES: usize = 64 * 1024;

/// An answer on its way.
pub(super) struct Playback {
    events: Events,
    recording: Recording,
    stopped: watch::Receiver<bool>,
    /// Written, not yet sent.
    frame: Vec<u8>,
    /// What comes after the frame.
    next: Option<Step>,
    /// Sent in parts.
    drops: Bytes,
}

/// Waits until the simulator stops.
pub(super) async fn stop(stopped: &mut watch::Receiver<bool>) {
    // An error says that the simulator is gone, which stops it too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Waits, unless the simulator stops. True if it did.
pub(super) async fn stops_within(stopped: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    tokio::select! {
        () = sleep(wait) => false,
        () = stop(stopped) => true,
    }
}

impl Playback {
    pub(super) fn new(events: Events, recording: Recording, stopped: watch::Receiver<bool>) -> Self {
        Self { events, recording, stopped, frame: Vec::new(), next: None, drops: Bytes::new() }
    }

    /// The body of a response. Dropped before its end, the client has gone.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, async |mut playback| {
            let frame = playback.next_bytes().await?;
            Some((frame, playback))
        }))
    }

    async fn next_bytes(&mut self) -> Option<io::Result<Bytes>> {
        if self.drops.is_empty() {
            match self.next_frame().await {
                Some(Ok(frame)) if self.events.in_parts() => self.drops = frame,
                other => return other,
            }
        }
        yield_now().await; // the server writes out what it has when nothing more is ready
        let part = self.events.part_bytes(&self.drops);
        Some(Ok(self.drops.split_to(part)))
    }

    async fn next_frame(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let step = self.fill();
            if !self.frame.is_empty() {
                self.next = step;
                return Some(Ok(self.take_frame()));
            }
            match step? {
                Step::Wrote => {}
                Step::Wait(wait) => {
                    if stops_within(&mut self.stopped, wait).await {
                        return Some(Err(self.cut()));
                    }
                }
                Step::Hang => {
                    stop(&mut self.stopped).await;
                    return Some(Err(self.cut()));
                }
                Step::Cut => {
                    yield_now().await; // an error would swallow what is not yet written out
                    return Some(Err(self.cut()));
                }
                Step::End(ended) => {
                    self.recording.end(ended);
                    return None;
                }
            }
        }
    }

    /// Writes events to the frame until it is full or something else has to happen first, which it returns.
    fn fill(&mut self) -> Option<Step> {
        if self.next.is_some() {
            return self.next.take();
        }
        while self.frame.len() < FRAME_BYTES {
            match self.events.step(&mut self.frame) {
                Step::Wrote => {}
                step => return Some(step),
            }
        }
        None
    }

    fn take_frame(&mut self) -> Bytes {
        let frame = Bytes::from(std::mem::take(&mut self.frame));
        self.recording.bytes += frame.len() as u64;
        self.recording.chunks = self.events.chunks();
        self.recording.completion_tokens = self.events.words();
        self.recording.finish_sent = self.events.finished();
        frame
    }

    /// A body that fails closes its connection.
    fn cut(&mut self) -> io::Error {
        self.recording.end(Ended::Cut);
        io::ErrorKind::ConnectionAborted.into()
    }
}
