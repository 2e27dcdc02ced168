//! Signals: a word among processes of one role, without a body and without an answer. Nothing durable depends on them.

use async_nats::SubscribeError;
use bytes::Bytes;
use futures::StreamExt;

use crate::Bus;

impl Bus {
    /// Says `subject` to whoever hears it now.
    pub async fn signal(&self, subject: String) {
        if let Err(error) = self.client.publish(subject, Bytes::new()).await {
            tracing::debug!(%error, "a signal was not sent");
        }
    }

    /// Hears every signal on `pattern` until the process drains. `hear` is called with the subject, and must be quick.
    pub async fn hear(
        &self,
        name: &'static str,
        pattern: &'static str,
        hear: impl Fn(&str) + Send + 'static,
    ) -> Result<(), SubscribeError> {
        let mut signals = self.client.subscribe(pattern).await?;
        let drain = self.drain.clone();
        self.drain.spawn(name, async move {
            loop {
                tokio::select! {
                    Some(signal) = signals.next() => hear(&signal.subject),
                    () = drain.draining() => break,
                    else => break,
                }
            }
        });
        Ok(())
    }
}
