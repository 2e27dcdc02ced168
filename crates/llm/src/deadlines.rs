//! When a call gives up.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{
    config::Timeouts,
    error::{CallError, Phase},
};

/// How long a finished answer waits for its usage.
const USAGE_WAIT: Duration = Duration::from_secs(2);
/// How long a complete stream waits for the end of its HTTP body, so that the connection can be used again.
const LINGER: Duration = Duration::from_millis(10);

/// The clock of one call.
pub(crate) struct Deadlines {
    started: Instant,
    first_token: Instant,
    total: Instant,
    idle: Duration,
    /// When bytes last counted as a sign of life.
    heard: Instant,
    slow: Duration,
    slow_bytes: usize,
    /// Since when so much text has come.
    pace: (Instant, usize),
    stage: Stage,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The head of the response.
    Head,
    /// The first sign of generation.
    FirstToken,
    /// The finish.
    Finish,
    /// What may follow the finish: usage, the last marker.
    Usage,
    /// The end of the HTTP body.
    End,
}

impl Deadlines {
    /// The call starts now.
    pub(crate) fn start(timeouts: &Timeouts) -> Self {
        let started = Instant::now();
        Self {
            started,
            first_token: started + Duration::from_millis(timeouts.first_token_ms),
            total: started + Duration::from_millis(timeouts.total_ms),
            idle: Duration::from_millis(timeouts.idle_ms),
            heard: started,
            slow: Duration::from_millis(timeouts.slow_ms),
            slow_bytes: timeouts.slow_bytes as usize,
            pace: (started, 0),
            stage: Stage::Head,
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Bytes came. Behind the finish they are no sign of life any more: the wait for the usage is short.
    pub(crate) fn hear(&mut self) {
        if self.stage < Stage::Usage {
            self.heard = Instant::now();
        }
    }

    /// The call waits for this from now on; it never goes back.
    pub(crate) fn advance(&mut self, to: Stage) {
        if to > self.stage {
            self.stage = to;
            self.heard = Instant::now();
            self.pace = (self.heard, 0);
        }
    }

    /// So much of the text came, or the model thinks.
    pub(crate) fn go_on(&mut self, bytes: usize, thinking: bool) {
        let (since, so_far) = &mut self.pace;
        *so_far += bytes;
        if thinking || (*so_far >= self.slow_bytes && since.elapsed() >= self.slow) {
            self.pace = (Instant::now(), 0);
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Waits for `future` no longer than the nearest deadline.
    pub(crate) async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T, CallError> {
        let (at, phase) = self.nearest();
        // A timeout looks at its future first: a stream that always has something ready would never be late.
        if Instant::now() >= at {
            return Err(CallError::TimedOut(phase));
        }
        timeout_at(at, future).await.map_err(|_| CallError::TimedOut(phase))
    }

    fn nearest(&self) -> (Instant, Phase) {
        let first_token = (self.first_token, Phase::FirstToken);
        let total = (self.total, Phase::Total);
        let idle = (self.heard + self.idle, Phase::Idle);
        let slow = (self.pace.0 + self.slow, Phase::Slow);
        match self.stage {
            Stage::Head => first_token.min(total),
            Stage::FirstToken => first_token.min(idle).min(total),
            Stage::Finish if self.pace.1 < self.slow_bytes => idle.min(total).min(slow),
            Stage::Finish => idle.min(total),
            Stage::Usage => (self.heard + self.idle.min(USAGE_WAIT), Phase::Idle).min(total),
            Stage::End => (self.heard + LINGER, Phase::Idle).min(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    fn start() -> Deadlines {
        start_slow(0)
    }

    fn start_slow(slow_bytes: u32) -> Deadlines {
        Deadlines::start(&Timeouts {
            connect_ms: 100,
            first_token_ms: 2_000,
            idle_ms: 1_000,
            total_ms: 10_000,
            slow_ms: 2_000,
            slow_bytes,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_that_drips_is_left_and_one_that_flows_or_a_model_that_thinks_is_not() {
        let mut deadlines = start_slow(20);
        deadlines.advance(Stage::Finish);
        for _ in 0..9 {
            advance(Duration::from_millis(500)).await;
            deadlines.hear();
            deadlines.go_on(10, false);
            assert_eq!(deadlines.within(async {}).await, Ok(()));
        }
        deadlines.go_on(0, true);
        for _ in 0..2 {
            advance(Duration::from_millis(900)).await;
            deadlines.hear();
            deadlines.go_on(2, false);
        }
        assert_eq!(late(&deadlines).await.0, timed_out(Phase::Slow));
    }

    async fn late(deadlines: &Deadlines) -> (Option<CallError>, u64) {
        (deadlines.within(pending::<()>()).await.err(), deadlines.elapsed_ms())
    }

    fn timed_out(phase: Phase) -> Option<CallError> {
        Some(CallError::TimedOut(phase))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_the_head_is_a_missing_first_token() {
        assert_eq!(late(&start()).await, (timed_out(Phase::FirstToken), 2_000));
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_move_the_idle_deadline_alone() {
        let mut deadlines = start();
        deadlines.advance(Stage::FirstToken);
        advance(Duration::from_millis(900)).await;
        deadlines.hear();
        assert_eq!(late(&deadlines).await, (timed_out(Phase::Idle), 1_900));
        deadlines.hear();
        assert_eq!(late(&deadlines).await, (timed_out(Phase::FirstToken), 2_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_always_ready_still_ends() {
        let mut deadlines = start();
        deadlines.advance(Stage::Finish);
        let mut late = Ok(());
        for _ in 0..100 {
            late = late.and(deadlines.within(async {}).await);
            advance(Duration::from_millis(500)).await;
            deadlines.hear();
        }
        assert_eq!(late, Err(CallError::TimedOut(Phase::Total)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_its_time_and_not_a_moment_more() {
        let mut deadlines = start();
        deadlines.advance(Stage::Finish);
        for _ in 0..11 {
            advance(Duration::from_millis(909)).await;
            deadlines.hear();
        }
        assert_eq!((deadlines.elapsed_ms(), deadlines.within(async { 1 }).await), (9_999, Ok(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(late(&deadlines).await.0, timed_out(Phase::Total));
    }

    #[tokio::test(start_paused = true)]
    async fn a_finished_answer_does_not_wait_long_for_its_usage() {
        let mut deadlines = Deadlines::start(&Timeouts::default());
        deadlines.advance(Stage::Usage);
        advance(Duration::from_millis(1_000)).await;
        deadlines.hear();
        assert_eq!(late(&deadlines).await.1, 2_000);
        deadlines.advance(Stage::End);
        deadlines.advance(Stage::Finish);
        assert_eq!(late(&deadlines).await.1, 2_010);
    }
}
