//! What a put may have left at a name, until the caller has taken it over.
//!
//! A request that creates an object can lose its answer, and its repeat can meet what the first try made. So each such
//! request stands under a [`Claim`], which finds out whose the object is and removes one of ours that the caller never got.

use std::fmt::Debug;
use std::future::Future;

use stowage_base::tasks::Tasks;

use super::finish::{CleanUp, clean_up};
use super::lost::Lost;
use crate::{Error, Kind, Object, Result, Stored};

/// An object that a request creates: how to find it, and what tells it from the objects of others.
pub(crate) trait Target: Debug + Clone + Send + Sync + 'static {
    /// What is known of the object once it has been seen.
    type Known: Debug + Send + Sync + 'static;

    fn tasks(&self) -> &Tasks;

    /// The storage's id in the plan and the object's name, for log lines.
    fn shown(&self) -> (&str, &str);

    /// Looks whether the object is there.
    fn find(&self) -> impl Future<Output = Result<Found<Self::Known>>> + Send;

    /// Removes the object, also one that is gone. `false`: another version than the known one is there.
    fn remove(&self, known: &Self::Known) -> impl Future<Output = Result<bool>> + Send;

    /// Where the object is.
    fn stored(&self, known: &Self::Known) -> Result<Stored>;
}

/// What is at the name of a [`Target`].
#[derive(Debug)]
pub(crate) enum Found<K> {
    /// Nothing, or an object of others.
    Nothing,
    /// The object.
    Ours(K),
    /// An object that has our bytes and a name that others may use too: it cannot be known whose it is, and it stays.
    Ambiguous,
}

/// What a request that creates an object was answered.
#[derive(Debug)]
pub(crate) enum Answer<K> {
    /// The object is there.
    Created(K),
    /// It is there with other bytes than were sent, so it goes.
    Corrupted(K, Error),
    /// Something has the name; `true`: perhaps what an earlier try made.
    Taken(Error, bool),
    /// It was refused; `true`: the request may have had its effect all the same.
    Refused(Error, bool),
    /// The object may be there: it is looked for before the caller gets the error.
    Unknown(Error),
}

impl<K> From<Lost> for Answer<K> {
    fn from(lost: Lost) -> Self {
        if lost.seen { Self::Unknown(lost.error) } else { Self::Refused(lost.error, false) }
    }
}

/// An object of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(crate) struct Claim<T: Target> {
    target: T,
    state: State<T::Known>,
}

#[derive(Debug)]
enum State<K> {
    /// Nothing was sent, or it certainly made nothing.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// As a look has found it, or an answer said.
    Seen(Found<K>),
}

impl<T: Target> Claim<T> {
    /// For an object that nothing has been sent for.
    pub(crate) const fn new(target: T) -> Self {
        Self { target, state: State::Nothing }
    }

    /// For a request that is about to be sent.
    pub(crate) const fn doubtful(target: T) -> Self {
        Self { target, state: State::Doubtful }
    }

    /// A request is about to be sent that may create the object.
    pub(crate) fn doubt(&mut self) {
        self.state = State::Doubtful;
    }

    /// The object was stored.
    pub(crate) fn confirm(&mut self, known: T::Known) {
        self.state = State::Seen(Found::Ours(known));
    }

    /// Nothing was stored.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Nothing;
    }

    /// What is known of the object, if it is ours for certain.
    pub(crate) const fn known(&self) -> Option<&T::Known> {
        match &self.state {
            State::Seen(Found::Ours(known)) => Some(known),
            State::Nothing | State::Doubtful | State::Seen(_) => None,
        }
    }

    /// Finds out whether what is at the name is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays as it was.
    pub(crate) async fn settle(&mut self) -> Result<bool> {
        self.state = State::Seen(self.target.find().await?);
        Ok(self.known().is_some())
    }

    /// What came of the request. A claim that is not given back looks after the object by itself: an earlier try may still
    /// be at work.
    ///
    /// # Errors
    /// That of the answer, where it is not about the name.
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

    /// Takes the object over: it stays.
    ///
    /// # Errors
    /// Where it is not known to be ours, or not where it is: then it goes.
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
            // Not the claim itself: a clean-up that never ran must not start another.
            clean_up(self.target.tasks(), "object clean-up", remove(self.target.clone(), state));
        }
    }
}

/// Removes what is ours, if anything is.
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

/// `false`: nothing of ours is there, as yet.
async fn remove_once<T: Target>(target: &T, state: &mut State<T::Known>) -> Result<bool> {
    if matches!(state, State::Doubtful | State::Seen(Found::Nothing)) {
        *state = State::Seen(target.find().await?);
    }
    match state {
        State::Seen(Found::Ours(known)) => {
            let removed = target.remove(known).await?;
            if !removed {
                // Look again whose it is.
                *state = State::Doubtful;
            }
            Ok(removed)
        }
        State::Seen(Found::Ambiguous) => Ok(true),
        State::Nothing | State::Doubtful | State::Seen(Found::Nothing) => Ok(false),
    }
}

/// A name for an object.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    /// Whether nothing else has this name: what is there is ours.
    pub(crate) unique: bool,
}

/// What came of creating something under a name.
#[derive(Debug)]
pub(crate) enum Attempt<M> {
    Made(M),
    /// Something else has the name, says this error.
    Taken(Error),
}

/// Creates an object, or begins to, under a name that is given.
pub(crate) trait Create: Send + 'static {
    type Made: Send + 'static;

    fn create(&mut self, name: &Name) -> impl Future<Output = Result<Attempt<Self::Made>>> + Send;
}

/// The names that an object may get, in order: the composed one, and the one that nothing else has.
pub(crate) fn names(object: &Object) -> Vec<Name> {
    let composed = (!object.taken).then(|| Name { text: object.name.clone(), unique: false });
    composed.into_iter().chain([Name { text: object.spare.clone(), unique: true }]).collect()
}

/// Creates an object under the first of its names that is free.
///
/// # Errors
/// Those of `create`; where every name is taken, what was said of the last one.
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

/// Whether a look says that nothing is at a name: a refusal does not say it.
///
/// # Errors
/// Where nothing is said for now.
pub(crate) fn is_free<T>(found: Result<Option<T>>) -> Result<bool> {
    match found {
        Ok(found) => Ok(found.is_none()),
        Err(error) if error.kind() == Kind::Refused => Ok(false),
        Err(error) => Err(error),
    }
}

/// The error for a name that was free when a long upload began; a new upload may succeed.
pub(crate) fn taken_meanwhile() -> Error {
    Error::new(Kind::Passing, "another object took the name during the upload")
}
