//! A port that can be closed for a while, and connections that can be reset in the middle of a request. Neither can be had from
//! a server that is kind to its callers, hence one of our own around hyper.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::smtp::Smtp;
use crate::switches::{HangUp, Hatch};

/// Connections of one port at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// Between two tries to have a port back that somebody else took meanwhile.
const BIND_AGAIN: Duration = Duration::from_millis(100);

/// What is behind a port.
#[derive(Clone)]
pub(crate) enum Service {
    /// Routes.
    Http(Router),
    /// A mail relay.
    Smtp(Smtp),
}

impl Service {
    async fn connection(self, stream: TcpStream, closing: CancellationToken) {
        match self {
            Service::Http(router) => connection(stream, router, closing).await,
            Service::Smtp(relay) => {
                closing.run_until_cancelled(relay.serve(stream)).await;
            }
        }
    }
}

pub(crate) struct Door {
    listener: Option<TcpListener>,
    address: SocketAddr,
    service: Service,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    connections: JoinSet<()>,
    /// Cancelled when the port is closed: connections end after what they have in hand.
    closing: CancellationToken,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, address: SocketAddr, service: Service, stop: CancellationToken) -> Self {
        Door {
            listener: Some(listener),
            address,
            service,
            closing: stop.child_token(),
            stop,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connections: JoinSet::new(),
        }
    }

    /// Serves until it is told to stop, then drops all connections.
    pub(crate) async fn serve(mut self, mut hatch: Hatch) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.serve_on(&mut hatch)).await;
    }

    async fn serve_on(&mut self, hatch: &mut Hatch) {
        loop {
            let open = *hatch.wanted.borrow_and_update();
            match (open, self.listener.take()) {
                (true, None) => match TcpListener::bind(self.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(error) => {
                        tracing::warn!(address = %self.address, %error, "the port is not to be had; trying again");
                        tokio::time::sleep(BIND_AGAIN).await;
                        continue;
                    }
                },
                (true, listener) => self.listener = listener,
                (false, listener) => {
                    drop(listener);
                    self.closing.cancel();
                    self.closing = self.stop.child_token();
                }
            }
            hatch.actual.send_replace(open);
            match self.listener.take() {
                Some(listener) => {
                    self.accept(&listener, hatch).await;
                    self.listener = Some(listener);
                }
                None => changed(hatch).await,
            }
        }
    }

    /// Accepts connections until the switch says something new.
    async fn accept(&mut self, listener: &TcpListener, hatch: &mut Hatch) {
        loop {
            while self.connections.try_join_next().is_some() {}
            let next = async {
                let place = self.places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = changed(hatch) => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serving = self.service.clone().connection(stream, self.closing.clone());
                    self.connections.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                // Of the one connection, or for want of file descriptors.
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "a connection was not accepted");
                    tokio::time::sleep(BIND_AGAIN).await;
                }
            }
        }
    }
}

/// Of a port without a switch the other end is gone, and nothing ever changes.
async fn changed(hatch: &mut Hatch) {
    if hatch.wanted.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn connection(stream: TcpStream, router: Router, closing: CancellationToken) {
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Resettable { stream, reset: reset.clone() });
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, reset) = (router.clone(), reset.clone());
        async move {
            let response = answer(router, request).await;
            if response.extensions().get::<HangUp>().is_some() {
                reset.store(true, Ordering::Relaxed);
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            Ok(response)
        }
    });
    let mut serving = pin!(http1::Builder::new().serve_connection(io, service));
    // How a connection ended concerns its caller only.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

async fn answer(router: Router, request: hyper::Request<Incoming>) -> Response {
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A connection that ends with a reset when it is told so before it is dropped.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed)
            && let Err(error) = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
        {
            tracing::warn!(%error, "a connection ends without a reset");
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Shut down in order, it could not be reset any more.
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
