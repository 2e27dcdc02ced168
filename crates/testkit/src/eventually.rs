//! Waiting for what must come about by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks until `probe` finds something, and returns it. `what` completes the sentence "not within 5s: …".
///
/// # Panics
/// When `limit` has passed.
pub async fn eventually<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(POLL).await;
    }
}
