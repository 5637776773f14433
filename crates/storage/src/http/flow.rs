//! A request body that can be held back, withdrawn, and queried for its progress.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use stowage_http::body::{Body, BoxError};
use tokio::time::Sleep;

/// The sender's handle to a request body; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Flow(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    started: AtomicBool,
    finished: AtomicBool,
}

#[derive(Debug)]
enum State {
    Held(Body, Option<Waker>),
    Open(Body),
    Withdrawn,
}

impl Flow {
    /// Returns the handle and the body to send. A held body waits for [`open`](Self::open), but no longer than `held` after the request
    /// head was sent.
    pub(super) fn new(body: Body, held: Option<Duration>) -> (Self, Body) {
        let empty = body.is_end_stream();
        let state = if held.is_some() { State::Held(body, None) } else { State::Open(body) };
        let flow = Self(Arc::new(Shared {
            state: Mutex::new(state),
            started: AtomicBool::new(empty),
            finished: AtomicBool::new(empty),
        }));
        let gated = Gated { flow: flow.clone(), held, timer: None };
        (flow, if empty { Body::empty() } else { Body::boxed(gated) })
    }

    /// Lets the body flow.
    pub(super) fn open(&self) {
        self.release(|body| (State::Open(body), ()));
    }

    /// Returns the untouched body if it has not begun to flow; its sender then fails.
    pub(super) fn withdraw(&self) -> Option<Body> {
        self.release(|body| (State::Withdrawn, body))
    }

    /// Moves a held body on to its next state, and wakes its sender.
    fn release<T>(&self, next: impl FnOnce(Body) -> (State, T)) -> Option<T> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Withdrawn) {
            State::Held(body, waker) => {
                let (now, told) = next(body);
                *state = now;
                drop(state);
                waker.into_iter().for_each(Waker::wake);
                Some(told)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Returns whether the server may have received part of the body.
    pub(super) fn started(&self) -> bool {
        self.0.started.load(Ordering::Acquire)
    }

    /// Returns whether the whole body was handed to the connection.
    pub(super) fn finished(&self) -> bool {
        self.0.finished.load(Ordering::Acquire)
    }

    /// Returns whether the body is held; registers the current task to be woken when that changes.
    fn is_held(&self, cx: &Context<'_>) -> bool {
        match &mut *self.state() {
            State::Held(_, waker) => {
                *waker = Some(cx.waker().clone());
                true
            }
            State::Open(_) | State::Withdrawn => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Gated {
    flow: Flow,
    held: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Gated {
    /// Ready once the body was held for long enough: not every server supports `100 Continue`.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.held else { return Poll::Ready(()) };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx)
    }
}

impl HttpBody for Gated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.flow.is_held(cx) {
            ready!(this.poll_patience(cx));
            this.flow.open();
        }
        let shared = &this.flow.0;
        let mut state = this.flow.state();
        let body = match &mut *state {
            State::Held(..) => return Poll::Pending,
            State::Withdrawn => return Poll::Ready(Some(Err("the body was not sent".into()))),
            State::Open(body) => body,
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if matches!(frame, Some(Ok(_))) {
            shared.started.store(true, Ordering::Release);
        }
        if frame.is_none() || (frame.as_ref().is_some_and(Result::is_ok) && at_end(body)) {
            shared.finished.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(&*self.flow.state(), State::Open(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.flow.state() {
            State::Held(body, _) | State::Open(body) => body.size_hint(),
            State::Withdrawn => SizeHint::default(),
        }
    }
}

fn at_end(body: &Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
