//! Objects that a put may have left at a name, until the caller takes ownership.
//!
//! The response to a request that creates an object can get lost, and its retry can then conflict with what the first attempt created.
//! So each such request holds a [`Claim`], which determines who owns the object and removes it if it is ours but never reached the caller.

use std::fmt::Debug;
use std::future::Future;

use stowage_base::tasks::Tasks;

use super::finish::{CleanUp, clean_up};
use super::lost::Lost;
use crate::{Error, Kind, Object, Result, Stored};

/// An object created by a request: how to find it, and how to tell it from others' objects.
pub(crate) trait Target: Debug + Clone + Send + Sync + 'static {
    /// What is known about the object once it was found.
    type Known: Debug + Send + Sync + 'static;

    fn tasks(&self) -> &Tasks;

    /// The storage's id in the plan and the object's name, for logs.
    fn shown(&self) -> (&str, &str);

    /// Looks for the object.
    fn find(&self) -> impl Future<Output = Result<Found<Self::Known>>> + Send;

    /// Removes the object, which may be gone already. Returns `false` if another version than the known one is there.
    fn remove(&self, known: &Self::Known) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the object's location.
    fn stored(&self, known: &Self::Known) -> Result<Stored>;
}

/// What is at the name of a [`Target`].
#[derive(Debug)]
pub(crate) enum Found<K> {
    /// Nothing, or someone else's object.
    Nothing,
    /// Our object.
    Ours(K),
    /// An object with our bytes at a name that others may use as well: its owner cannot be determined, so it stays.
    Ambiguous,
}

/// The response to a request that creates an object.
#[derive(Debug)]
pub(crate) enum Answer<K> {
    /// The object was created.
    Created(K),
    /// The object was created with the wrong bytes, so it is removed.
    Corrupted(K, Error),
    /// The name is taken; `true`: perhaps by an earlier attempt.
    Taken(Error, bool),
    /// The request was rejected; `true`: it may have taken effect nevertheless.
    Refused(Error, bool),
    /// The object may exist: it is looked for before the caller gets the error.
    Unknown(Error),
}

impl<K> From<Lost> for Answer<K> {
    fn from(lost: Lost) -> Self {
        if lost.seen { Self::Unknown(lost.error) } else { Self::Refused(lost.error, false) }
    }
}

/// An object that is or may be ours: removed on drop unless it is kept.
#[derive(Debug)]
pub(crate) struct Claim<T: Target> {
    target: T,
    state: State<T::Known>,
}

#[derive(Debug)]
enum State<K> {
    /// No request was sent, or the request certainly created nothing.
    Nothing,
    /// A request was sent, and its outcome is unknown.
    Doubtful,
    /// As found by a lookup or reported in a response.
    Seen(Found<K>),
}

impl<T: Target> Claim<T> {
    /// Creates a claim for an object before anything was sent.
    pub(crate) const fn new(target: T) -> Self {
        Self { target, state: State::Nothing }
    }

    /// Creates a claim for a request that is about to be sent.
    pub(crate) const fn doubtful(target: T) -> Self {
        Self { target, state: State::Doubtful }
    }

    /// Records that a request that may create the object is about to be sent.
    pub(crate) fn doubt(&mut self) {
        self.state = State::Doubtful;
    }

    /// Records that the object was stored.
    pub(crate) fn confirm(&mut self, known: T::Known) {
        self.state = State::Seen(Found::Ours(known));
    }

    /// Records that nothing was stored.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Nothing;
    }

    /// Returns what is known about the object, if it is certainly ours.
    pub(crate) const fn known(&self) -> Option<&T::Known> {
        match &self.state {
            State::Seen(Found::Ours(known)) => Some(known),
            State::Nothing | State::Doubtful | State::Seen(_) => None,
        }
    }

    /// Determines whether the object at the name is ours.
    ///
    /// # Errors
    /// If that cannot be determined; the claim is unchanged.
    pub(crate) async fn settle(&mut self) -> Result<bool> {
        self.state = State::Seen(self.target.find().await?);
        Ok(self.known().is_some())
    }

    /// Evaluates the response. A claim that is not returned takes care of the object by itself: an earlier attempt may still be in
    /// progress.
    ///
    /// # Errors
    /// The response's error, unless it is about the name.
    pub(crate) async fn judge(mut self, answer: Answer<T::Known>) -> Result<Attempt<Self>> {
        match answer {
            Answer::Created(known) => self.confirm(known),
            Answer::Corrupted(known, error) => {
                self.confirm(known);
                return Err(error);
            }
            Answer::Unknown(error) => {
                if !self.settle().await.unwrap_or(false) {
                    return Err(error);
                }
            }
            Answer::Taken(error, doubtful) => {
                if !doubtful || !self.settle().await.unwrap_or(false) {
                    return Ok(Attempt::Taken(self.refused(error, doubtful)));
                }
            }
            Answer::Refused(error, doubtful) => return Err(self.refused(error, doubtful)),
        }
        Ok(Attempt::Made(self))
    }

    fn refused(mut self, error: Error, doubtful: bool) -> Error {
        if !doubtful {
            self.give_up();
        }
        error
    }

    /// Transfers ownership to the caller: the object stays.
    ///
    /// # Errors
    /// If it is not certain that this claim created the object, or if its location is unknown. The claim is dropped then, which removes the object.
    pub(crate) fn keep(mut self) -> Result<Stored> {
        let known = self.known().ok_or_else(|| Error::new(Kind::Passing, "what became of an object is not known"))?;
        let stored = self.target.stored(known)?;
        self.give_up();
        Ok(stored)
    }
}

impl<T: Target> Drop for Claim<T> {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Nothing);
        if !matches!(state, State::Nothing) {
            // The task does not hold the claim itself: a clean-up that never ran must not start another.
            clean_up(self.target.tasks(), "object clean-up", remove(self.target.clone(), state));
        }
    }
}

/// Removes our object, if there is one.
async fn remove<T: Target>(target: T, mut state: State<T::Known>) {
    let mut tries = CleanUp::default();
    while tries.again().await {
        tries.note(remove_once(&target, &mut state).await);
    }
    let (storage, object) = target.shown();
    if let Some(error) = tries.failure() {
        tracing::warn!(%storage, %object, %error, "an object that no document names may be left");
    } else if matches!(state, State::Seen(Found::Ambiguous)) {
        tracing::warn!(%storage, %object, "the answer to an upload was lost: an object that no document names may be left");
    }
}

/// Returns `false` if nothing of ours is there yet.
async fn remove_once<T: Target>(target: &T, state: &mut State<T::Known>) -> Result<bool> {
    if matches!(state, State::Doubtful | State::Seen(Found::Nothing)) {
        *state = State::Seen(target.find().await?);
    }
    match state {
        State::Seen(Found::Ours(known)) => {
            let removed = target.remove(known).await;
            if !matches!(removed, Ok(true)) {
                // Determine the owner again: a removal without an answer may have freed the name for another gateway's object.
                *state = State::Doubtful;
            }
            removed
        }
        State::Seen(Found::Ambiguous) => Ok(true),
        State::Nothing | State::Doubtful | State::Seen(Found::Nothing) => Ok(false),
    }
}

/// A candidate name for an object.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    /// Whether the name is unique, so that whatever is there is ours.
    pub(crate) unique: bool,
}

/// Outcome of creating something under a name.
#[derive(Debug)]
pub(crate) enum Attempt<M> {
    Made(M),
    /// The name is taken; with the storage's error.
    Taken(Error),
}

/// Creates an object, or starts to, under a given name.
pub(crate) trait Create: Send + 'static {
    type Made: Send + 'static;

    fn create(&mut self, name: &Name) -> impl Future<Output = Result<Attempt<Self::Made>>> + Send;
}

/// Returns an object's candidate names, in order: the composed one, and the unique one.
pub(crate) fn names(object: &Object) -> Vec<Name> {
    let composed = (!object.taken).then(|| Name { text: object.name.clone(), unique: false });
    composed.into_iter().chain([Name { text: object.spare.clone(), unique: true }]).collect()
}

/// Creates an object under the first free name.
///
/// # Errors
/// The errors of `create`; if every name is taken, the last name's error.
pub(crate) async fn create<C: Create>(names: Vec<Name>, mut creation: C) -> Result<C::Made> {
    let mut taken = Error::new(Kind::Refused, "no name is free for an object");
    for name in names {
        match creation.create(&name).await? {
            Attempt::Made(made) => return Ok(made),
            Attempt::Taken(error) => taken = error,
        }
    }
    Err(taken)
}

/// Returns whether a lookup states that nothing is at a name; a refusal does not.
///
/// # Errors
/// If the lookup failed transiently.
pub(crate) fn is_free<T>(found: Result<Option<T>>) -> Result<bool> {
    match found {
        Ok(found) => Ok(found.is_none()),
        Err(error) if error.kind() == Kind::Refused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the error for a name that was free when a long upload began; a new upload may succeed.
pub(crate) fn taken_meanwhile() -> Error {
    Error::new(Kind::Passing, "another object took the name during the upload")
}
