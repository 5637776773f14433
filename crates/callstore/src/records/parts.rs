//! Helpers shared by all record forms.

use crate::fold::{Attr, Item, Key, Standing};
use crate::state::Stored;

use super::Subject;

/// Termination cause, numbered as in `cdr/COPM3/dialogs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    ByeA = 1,
    ByeB = 2,
    Cancel = 3,
    CallFinal = 4,
    Timeout = 5,
    Error = 6,
    CallTerminate = 7,
    Dead = 1000,
    External = 1001,
    Unknown = 1002,
}

impl Subject<'_> {
    /// Returns the initiator's leg of a dialog.
    pub(super) fn leg_a(&self) -> Option<&Item> {
        self.leg(Attr::LegA)
    }

    /// Returns the answering leg.
    pub(super) fn leg_b(&self) -> Option<&Item> {
        self.leg(Attr::LegB)
    }

    fn leg(&self, attr: Attr) -> Option<&Item> {
        let id = self.stored.item.text(attr)?;
        self.legs.iter().find(|(key, _)| key.id() == id).map(|(_, stored)| &stored.item)
    }

    /// Returns the dialog's text attribute, else that of the initiator's leg.
    pub(super) fn text(&self, attrs: &[Attr]) -> Option<&str> {
        let known = attrs.iter().find_map(|attr| self.stored.item.text(*attr));
        known.or_else(|| self.leg_a().and_then(|leg| attrs.iter().find_map(|attr| leg.text(*attr))))
    }

    /// Like [`Self::text`], for numbers and times.
    pub(super) fn num(&self, attr: Attr) -> Option<i64> {
        self.stored.item.num(attr).or_else(|| self.leg_a().and_then(|leg| leg.num(attr)))
    }

    /// Returns whether a flag is set on the dialog or one of its legs.
    pub(super) fn flag(&self, attr: Attr) -> bool {
        self.stored.item.flag(attr) || self.legs.iter().any(|(_, leg)| leg.item.flag(attr))
    }

    /// Returns the kind of the earliest death among the dialog and its legs.
    pub(super) fn death_kind(&self) -> Option<&str> {
        let legs = self.legs.iter().map(|(_, leg)| &leg.item);
        let deaths = std::iter::once(&self.stored.item).chain(legs).filter_map(Item::standing_death);
        deaths.min_by_key(|death| death.ended).map(|death| &*death.kind)
    }

    /// Returns the termination cause.
    pub(super) fn term(&self) -> Term {
        if self.standing == Standing::Dead {
            return if self.death_kind() == Some("timeout") { Term::Timeout } else { Term::Dead };
        }
        if let Some(completion) = self.stored.item.text(Attr::Completion) {
            return of_completion(completion);
        }
        let cause = self.text(&[Attr::Cause]).or_else(|| self.leg_b().and_then(|leg| leg.text(Attr::Cause)));
        match cause {
            Some("ORIGINATOR_CANCEL") => Term::Cancel,
            Some("NORMAL_CLEARING" | "NORMAL_UNSPECIFIED") => self.who_hung_up(),
            Some("RECOVERY_ON_TIMER_EXPIRE" | "ALLOTTED_TIMEOUT" | "MEDIA_TIMEOUT" | "PROGRESS_TIMEOUT") => {
                Term::Timeout
            }
            Some("USER_BUSY" | "NO_ANSWER" | "NO_USER_RESPONSE" | "CALL_REJECTED" | "UNALLOCATED_NUMBER") => {
                Term::CallFinal
            }
            Some("MANAGER_REQUEST" | "SYSTEM_SHUTDOWN") => Term::CallTerminate,
            Some("ATTENDED_TRANSFER" | "BLIND_TRANSFER") => Term::External,
            Some(_) => Term::Error,
            None => Term::Unknown,
        }
    }

    /// The party whose leg ended first sent the BYE.
    fn who_hung_up(&self) -> Term {
        let ended = |leg: Option<&Item>| leg.and_then(Item::ended);
        match (ended(self.leg_a()), ended(self.leg_b())) {
            (Some(a), Some(b)) if b < a => Term::ByeB,
            (None, Some(_)) => Term::ByeB,
            _ => Term::ByeA,
        }
    }
}

/// Maps ERA's completion types.
fn of_completion(word: &str) -> Term {
    match word {
        "bye" | "bye_a" => Term::ByeA,
        "bye_b" => Term::ByeB,
        "cancel" => Term::Cancel,
        "call_final" => Term::CallFinal,
        "timeout" => Term::Timeout,
        "error" => Term::Error,
        "call_terminate" => Term::CallTerminate,
        "dead" => Term::Dead,
        "external" => Term::External,
        _ => Term::Unknown,
    }
}

/// Returns the user part of a SIP URI or address, without its scheme.
pub(super) fn user(address: &str) -> &str {
    let bare = address.rsplit_once('<').map_or(address, |(_, rest)| rest);
    let bare = bare.trim_start_matches("sips:").trim_start_matches("sip:");
    bare.split(['@', ';', '>']).next().unwrap_or_default()
}

/// Returns the call's legs that are not legs of this dialog.
pub(super) fn forks<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
    let own = |key: &Key| subject.legs.iter().any(|(leg, _)| leg == key);
    subject.call.iter().filter(move |(key, _)| !key.is_dialog() && !own(key)).map(|(key, stored)| (key, stored))
}
