//! How long a connection took to be made, for the call that waited for it.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// Set by the connector, which runs within the future of the request that waits for it.
    static TOOK: Cell<Option<Duration>>;
}

/// Runs a request, and tells how long the connection took that was made for it; none if there was one already.
pub(crate) async fn timed<T>(request: impl Future<Output = T>) -> (T, Option<Duration>) {
    TOOK.scope(Cell::new(None), async { (request.await, TOOK.with(Cell::get)) }).await
}

/// Takes the time of a connector.
#[derive(Clone, Copy)]
pub(crate) struct Timing;

/// A connector whose time is taken.
#[derive(Clone)]
pub(crate) struct Timed<S>(S);

impl<S> Layer<S> for Timing {
    type Service = Timed<S>;

    fn layer(&self, connector: S) -> Timed<S> {
        Timed(connector)
    }
}

impl<R, S> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let (began, connecting) = (Instant::now(), self.0.call(to));
        Box::pin(async move {
            let connected = connecting.await;
            // One that a request gave up waiting for is finished elsewhere, and tells nobody.
            let _ = TOOK.try_with(|took| took.set(Some(began.elapsed())));
            connected
        })
    }
}
