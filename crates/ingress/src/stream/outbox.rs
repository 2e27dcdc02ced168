//! What waits for a reader: at most so many frames and bytes. Whoever lets more pile up is left behind, and others never
//! notice.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use wire::limits::{STREAM_BYTES_MAX, STREAM_FRAMES_MAX};

/// The writing end; all of its clones write to the same reader.
#[derive(Clone)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    patience: Duration,
}

/// Why a frame is not on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The reader has left.
    Left,
    /// The reader does not keep up.
    Lagged,
}

/// An outbox, and what its reader takes out of it. A reader who makes no room for so long is given up.
pub(crate) fn outbox(
    patience: Duration,
) -> (Outbox, impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) {
    let (frames, mut taken) = mpsc::channel(STREAM_FRAMES_MAX);
    let room = Arc::new(Semaphore::new(STREAM_BYTES_MAX));
    let taken = stream::poll_fn(move |context| {
        taken
            .poll_recv(context)
            .map(|frame| frame.map(|(frame, _permit): (Bytes, OwnedSemaphorePermit)| Ok(frame)))
    });
    (Outbox { frames, room, patience }, taken)
}

impl Outbox {
    /// Adds a frame, as soon as there is room for it.
    ///
    /// # Errors
    /// There is none for too long, or no reader.
    pub async fn send(&self, frame: Bytes) -> Result<(), Undelivered> {
        // Mostly there is room, and nothing to wait for.
        if self.try_send(frame.clone()) {
            return Ok(());
        }
        let sent = async {
            let permit = self.room.clone().acquire_many_owned(share(&frame)).await?;
            Ok::<_, AcquireError>(self.frames.send((frame, permit)).await)
        };
        let sent = tokio::select! {
            sent = timeout(self.patience, sent) => sent,
            () = self.frames.closed() => return Err(Undelivered::Left),
        };
        match sent {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(_) => Err(Undelivered::Left),
            Err(_) => Err(Undelivered::Lagged),
        }
    }

    /// Adds a frame, if there is room for it now. Without a reader there is nobody to tell.
    pub fn offer(&self, frame: Bytes) {
        self.try_send(frame);
    }

    fn try_send(&self, frame: Bytes) -> bool {
        let permit = self.room.clone().try_acquire_many_owned(share(&frame));
        permit.is_ok_and(|permit| self.frames.try_send((frame, permit)).is_ok())
    }

    /// Resolves when the reader has left.
    pub async fn abandoned(&self) {
        self.frames.closed().await;
    }
}

/// The room that a frame takes; one that is longer than all of it waits alone.
fn share(frame: &Bytes) -> u32 {
    u32::try_from(frame.len().min(STREAM_BYTES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::StreamExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn frame(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_frames_wait_and_one_more_is_too_many() {
        let (outbox, taken) = outbox(PATIENCE);
        for _ in 0..STREAM_FRAMES_MAX {
            outbox.send(frame(1)).await.unwrap();
        }
        assert_eq!(outbox.send(frame(1)).await, Err(Undelivered::Lagged));
        let mut taken = pin!(taken);
        let (sent, first) = tokio::join!(outbox.send(frame(1)), taken.next());
        assert!(sent.is_ok() && first.is_some());
        assert_eq!(outbox.send(frame(1)).await, Err(Undelivered::Lagged));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_bytes_wait_and_one_more_is_too_many() {
        let (outbox, taken) = outbox(PATIENCE);
        outbox.send(frame(STREAM_BYTES_MAX - 1)).await.unwrap();
        outbox.send(frame(1)).await.unwrap();
        assert_eq!(outbox.send(frame(1)).await, Err(Undelivered::Lagged));
        let mut taken = pin!(taken);
        taken.next().await;
        taken.next().await;
        outbox.send(frame(2 * STREAM_BYTES_MAX)).await.unwrap();
        assert_eq!(outbox.send(frame(1)).await, Err(Undelivered::Lagged), "a long one waits alone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_leaves_is_noticed() {
        let (outbox, taken) = outbox(PATIENCE);
        outbox.send(frame(STREAM_BYTES_MAX)).await.unwrap();
        drop(taken);
        outbox.abandoned().await;
        assert_eq!(outbox.send(frame(1)).await, Err(Undelivered::Left));
    }
}
