//! A connection's socket, with the patience that its client is met with: hyper has one timer for a head and the idle time
//! before it, and none for an answer that nobody takes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{Instant, Sleep, sleep, sleep_until},
};

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the head of a request, and for the first byte on a new connection.
    pub head: Duration,
    /// For the next request, and for a client that takes nothing of its answer.
    pub idle: Duration,
}

/// What a connection ended in while it was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// No byte ever came.
    Start,
    /// A part of a head came.
    Head,
    /// No further request came.
    Next,
    /// Nothing was taken of an answer.
    Reader,
}

/// What a connection's service and its socket tell each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    answering: AtomicBool,
    /// The connection speaks another protocol by now, which has a patience of its own.
    upgraded: AtomicBool,
    /// Hyper asks again only for what it was woken for, and the end of an answer is nothing that comes from the socket.
    answered: AtomicWaker,
    late: OnceLock<Late>,
}

/// A request that has come and is not yet answered; dropped with its answer.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Progress>);

/// A socket that fails with [`io::ErrorKind::TimedOut`] when its client is late. Whoever speaks over it last drops it, and by
/// that gives the stream back.
pub(crate) struct Socket {
    /// There until it is given back.
    stream: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
    progress: Arc<Progress>,
    patience: Patience,
    /// What the client would be late with now; [`Late::Reader`] while a request is answered.
    waits_for: Late,
    /// When the head, or its beginning, should be there.
    reading: Pin<Box<Sleep>>,
    /// There while nothing is taken.
    writing: Option<Pin<Box<Sleep>>>,
}

impl Progress {
    /// A request has come: whoever is late from now on, it is not its head.
    pub fn answering(self: &Arc<Self>) -> Answering {
        self.answering.store(true, Ordering::Release);
        Answering(self.clone())
    }

    /// What the client was late with.
    pub fn late(&self) -> Option<Late> {
        self.late.get().copied()
    }
}

impl Answering {
    /// The answer is that the connection speaks another protocol from now on.
    pub fn upgrade(&self) {
        self.0.upgraded.store(true, Ordering::Release);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::Release);
        self.0.answered.wake();
    }
}

impl Socket {
    /// The socket, and the stream when nobody uses it any more.
    pub fn new(
        stream: TcpStream,
        progress: Arc<Progress>,
        patience: Patience,
    ) -> (Self, oneshot::Receiver<TcpStream>) {
        let reading = Box::pin(sleep(patience.head));
        let (back, given_back) = oneshot::channel();
        let (stream, back) = (Some(stream), Some(back));
        let socket =
            Self { stream, back, progress, patience, waits_for: Late::Start, reading, writing: None };
        (socket, given_back)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Something came.
    fn heard(&mut self) {
        match self.waits_for {
            Late::Start => self.waits_for = Late::Head,
            Late::Next => self.wait(Late::Head, self.patience.head),
            Late::Reader if !self.is_answering() => self.wait(Late::Head, self.patience.head),
            Late::Head | Late::Reader => {}
        }
    }

    fn is_answering(&self) -> bool {
        let Progress { answering, upgraded, .. } = &*self.progress;
        answering.load(Ordering::Acquire) || upgraded.load(Ordering::Acquire)
    }

    fn wait(&mut self, what: Late, time: Duration) {
        self.waits_for = what;
        self.reading.as_mut().reset(Instant::now() + time);
    }

    /// Nothing came. While a request is answered, nothing has to.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_answering() {
            self.waits_for = Late::Reader;
            self.progress.answered.register(context.waker());
            return Poll::Pending;
        }
        if self.waits_for == Late::Reader {
            self.wait(Late::Next, self.patience.idle);
        }
        match self.reading.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(self.give_up(self.waits_for))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_taken(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let time = self.patience.idle;
        let writing = self.writing.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        match writing.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(self.give_up(Late::Reader))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn give_up(&self, late: Late) -> io::Error {
        self.progress.late.get_or_init(|| late);
        io::ErrorKind::TimedOut.into()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Whoever does not wait for it has no use for it.
            drop(back.send(stream));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.stream()?.poll_read(context, buffer) {
            Poll::Pending => self.poll_late(context),
            read => {
                if buffer.filled().len() > before {
                    self.heard();
                }
                read
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(context, bytes);
        self.poll_taken(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(context, parts);
        self.poll_taken(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
