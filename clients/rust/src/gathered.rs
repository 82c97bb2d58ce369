//! A TCP connection on which writes of one moment leave together.
//!
//! Tokio runs a task right after the one that woke it. So of twenty-five calls that are answered at once, each wakes the
//! task of the HTTP/2 connection, which writes that one answer, twenty-five system calls and packets in all; and the other
//! side answers in kind. Here what is written waits in memory until the tasks that are ready have run, and then leaves in
//! one write. There is no timer: where nothing else is ready it leaves at once.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Bytes that wait to leave, at most; whoever writes more is told to wait.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// A connection with nothing to say keeps no larger buffer.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// How long what was written before a connection was let go of may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// See the module. A flush returns before the bytes are with the system; a shutdown does not. An error of the connection is
/// told by the next call after it. Dropped without a shutdown, it still sends what was written, for a second.
#[derive(Debug)]
pub struct Gathered {
    read: OwnedReadHalf,
    outbox: Arc<Outbox>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Who waits for room, for the shutdown, or to learn of an error: one task owns a connection.
    owner: Option<Waker>,
    closing: bool,
    /// Nothing is written any more, and why.
    ended: Option<Result<(), io::ErrorKind>>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    fn end(&self, outcome: Result<(), io::ErrorKind>) {
        let owner = {
            let mut state = self.lock();
            state.ended = Some(outcome);
            state.waiting = Vec::new();
            state.owner.take()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// What waits, in exchange for an empty buffer; `None` when all is said.
    fn take(&self, empty: Vec<u8>) -> Option<Vec<u8>> {
        let (taken, owner) = {
            let mut state = self.lock();
            if state.waiting.is_empty() && state.closing {
                return None;
            }
            (std::mem::replace(&mut state.waiting, empty), state.owner.take())
        };
        if let Some(owner) = owner {
            owner.wake();
        }
        Some(taken)
    }
}

impl Gathered {
    /// Takes over a connection. Must be called on a tokio runtime, where a task writes from now on.
    pub fn new(stream: TcpStream) -> Gathered {
        let (local, remote) = (stream.local_addr().ok(), stream.peer_addr().ok());
        let (read, write) = stream.into_split();
        let outbox = Arc::<Outbox>::default();
        tokio::spawn(send(outbox.clone(), write));
        Gathered { read, outbox, local, remote }
    }

    /// Adds to what waits, as much as there is room for.
    fn add(&self, cx: &Context<'_>, slices: &mut dyn Iterator<Item = &[u8]>) -> Poll<io::Result<usize>> {
        let mut state = self.outbox.lock();
        match state.ended {
            Some(Err(kind)) => return Poll::Ready(Err(kind.into())),
            Some(Ok(())) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None => {}
        }
        let room = WAITING_BYTES_MAX - state.waiting.len();
        if room == 0 {
            state.owner = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let first = state.waiting.is_empty();
        let mut added = 0;
        for slice in slices {
            let part = &slice[..slice.len().min(room - added)];
            state.waiting.extend_from_slice(part);
            added += part.len();
        }
        drop(state);
        if first && added > 0 {
            self.outbox.wake.notify_one();
        }
        Poll::Ready(Ok(added))
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// Writes what waits until the connection is closed or breaks.
async fn send(outbox: Arc<Outbox>, mut write: OwnedWriteHalf) {
    let outcome = async {
        let mut chunk = Vec::new();
        loop {
            if chunk.capacity() > KEPT_BYTES_MAX {
                chunk = Vec::new();
            }
            outbox.wake.notified().await;
            loop {
                // Whoever else is ready goes first, and may add something.
                tokio::task::yield_now().await;
                chunk.clear();
                match outbox.take(chunk) {
                    None => return write.shutdown().await,
                    Some(taken) => chunk = taken,
                }
                if chunk.is_empty() {
                    break;
                }
                tokio::select! {
                    sent = write.write_all(&chunk) => sent?,
                    () = closed_for(&outbox, LAST_WORDS) => return Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    };
    let outcome = outcome.await;
    outbox.end(outcome.map_err(|error: io::Error| error.kind()));
}

/// Returns when the connection has been let go of for so long.
async fn closed_for(outbox: &Outbox, patience: Duration) {
    // The permits this takes are not missed: whoever wrote looks into the outbox once more before it waits for one.
    while !outbox.lock().closing {
        outbox.wake.notified().await;
    }
    tokio::time::sleep(patience).await;
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.add(cx, &mut std::iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.add(cx, &mut slices.iter().map(|slice| &**slice))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.outbox.lock().ended {
            Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.outbox.lock();
            if let Some(outcome) = state.ended {
                return Poll::Ready(outcome.map_err(io::Error::from));
            }
            state.owner = Some(cx.waker().clone());
        }
        self.outbox.close();
        Poll::Pending
    }
}

impl Connected for Gathered {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.local, remote_addr: self.remote }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Gathered, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (Gathered::new(ours), theirs)
    }

    /// Turns red when `send` does not yield before it takes.
    #[test]
    fn writes_of_tasks_that_are_ready_together_arrive_together() {
        // Now and then a worker looks at its sockets, whatever is ready; not in the middle of this.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).event_interval(1 << 20).enable_all().build();
        runtime.unwrap().block_on(written_together());
    }

    async fn written_together() {
        let (ours, mut theirs) = pair().await;
        // On the worker, as in a server: from outside, tasks would wait in another queue.
        let writers = tokio::spawn(async move {
            let ours = Arc::new(tokio::sync::Mutex::new(ours));
            for byte in 0..25 {
                let ours = ours.clone();
                tokio::spawn(async move { ours.lock().await.write_all(&[byte]).await });
            }
            ours
        });
        let mut got = [0; 64];
        let count = theirs.read(&mut got).await.unwrap();
        // In whatever order the tasks ran.
        got[..count].sort_unstable();
        assert_eq!(&got[..count], (0..25).collect::<Vec<u8>>());
        drop(writers.await.unwrap());
    }

    /// Turns red when `take` forgets what waits, when room is not told, or when a shutdown does not wait for the rest.
    #[tokio::test]
    async fn everything_arrives_in_order_also_when_the_reader_is_slow() {
        let (mut ours, mut theirs) = pair().await;
        let sent: Vec<u8> = (0..4_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            for part in copy.chunks(77_777) {
                ours.write_all(part).await.unwrap();
            }
            ours.shutdown().await.unwrap();
            ours
        });
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert!(got == sent, "{} of {} bytes, or other ones", got.len(), sent.len());
        drop(writer.await.unwrap());
    }

    /// Turns red when `add` takes what there is no room for.
    #[tokio::test]
    async fn who_writes_to_a_reader_that_does_not_read_waits() {
        let (mut ours, theirs) = pair().await;
        let chunk = vec![0; 64 << 10];
        let mut taken = 0;
        // The system's buffers take some; then nothing moves, however often it is tried.
        let mut stuck = 0;
        while stuck < 100 {
            let polled = futures::poll!(std::pin::pin!(ours.write(&chunk)));
            match polled {
                Poll::Ready(count) => {
                    taken += count.unwrap();
                    stuck = 0;
                }
                Poll::Pending => stuck += 1,
            }
            assert!(taken < 1 << 30, "nobody reads and everything is taken");
            tokio::task::yield_now().await;
        }
        assert!(ours.outbox.lock().waiting.len() <= WAITING_BYTES_MAX);
        drop(theirs);
    }

    /// Turns red when `end` keeps the reason to itself.
    #[tokio::test]
    async fn a_connection_that_breaks_is_told_to_the_writer() {
        let (mut ours, theirs) = pair().await;
        // Unread bytes make closing a reset.
        ours.write_all(b"unread").await.unwrap();
        while theirs.readable().await.is_err() {}
        drop(theirs);
        let error = loop {
            if let Err(error) = ours.write_all(&[0; 1024]).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        assert!(ours.flush().await.is_err() && ours.shutdown().await.is_err());
    }

    /// Turns red when a drop ends the connection before what was written has left.
    #[tokio::test]
    async fn what_was_written_before_a_drop_arrives() {
        let (mut ours, mut theirs) = pair().await;
        ours.write_all(b"last words").await.unwrap();
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last words");
    }
}
