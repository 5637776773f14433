//! Attributes of a leg or dialog.

use serde::{Deserialize, Serialize};

use super::value::Rule;

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident $text:literal $rule:ident,)*) => {
        /// An attribute of a leg or dialog; its text is its name in state, in the API and on the page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Attr {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Attr {
            /// Returns the name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns which of two values of the same rank is kept.
            #[must_use]
            pub const fn rule(self) -> Rule {
                match self { $(Self::$name => Rule::$rule,)* }
            }
        }
    };
}

attributes! {
    /// The call it belongs to: ERA's `cid`, KAZOO's `Call-Interaction-ID`.
    Call "call_id" First,
    /// When the INVITE of the call arrived.
    Invite "invite_time" First,
    /// The event stream it comes from: `kazoo` or `era`.
    Source "source" First,
    /// The switch or server that handles it.
    Node "node" Last,
    /// `inbound` or `outbound`, as the switch sees it.
    Direction "direction" First,
    /// The KAZOO account.
    Account "account_id" Last,
    /// The KAZOO user.
    Owner "owner_id" Last,
    /// The authenticated device or other entity.
    Authorizing "authorizing_id" Last,
    /// Type of the authenticated entity.
    AuthorizingType "authorizing_type" Last,
    /// `onnet-termination`, `offnet-origination` and so on.
    Resource "resource_type" Last,
    /// The domain: the account's realm, ERA's `fromdomain`.
    Domain "domain" Last,
    /// The domain of the called party.
    DomainB "domain_b" Last,
    /// The caller's URI.
    From "from" First,
    /// The called URI.
    To "to" First,
    /// The request URI.
    Request "request" First,
    /// The caller's number as received.
    CallerOriginal "caller_original" First,
    /// The caller's current number.
    Caller "caller_number" Last,
    /// The caller's name.
    CallerName "caller_name" Last,
    /// The number as dialled.
    Dialled "dialled" First,
    /// The current called number.
    Callee "callee_number" Last,
    /// The called party's name.
    CalleeName "callee_name" Last,
    /// The caller's number in E.164.
    E164From "e164_origination" Last,
    /// The called number in E.164.
    E164To "e164_destination" Last,
    /// Source address of the caller's signaling.
    ClientIp "client_ip" First,
    /// Port of that address.
    ClientPort "client_port" First,
    /// The media gateway's address.
    MediaIp "media_ip" Last,
    /// The leg it is connected with.
    OtherLeg "other_leg" Last,
    /// The initiator's leg of a dialog.
    LegA "a_leg" First,
    /// The answering leg of a dialog.
    LegB "b_leg" Last,
    /// The Call-ID outside the platform.
    OutsideId "outside_call_id" First,
    /// When the leg or dialog started.
    Created "created" First,
    /// When it rang.
    Ringing "ringing" First,
    /// When it was answered.
    Answered "answered" First,
    /// When the parties were first connected, which is before the answer if there was early media.
    Started "started" First,
    /// When the parties were last connected.
    Bridged "bridged" Last,
    /// When the parties were last disconnected.
    Unbridged "unbridged" Last,
    /// Whether it is on hold.
    Held "held" Last,
    /// When its source reported its end.
    Ended "ended" First,
    /// When its source reported that no more events follow.
    Stopped "stopped" First,
    /// When KAZOO's own record was announced.
    Reported "reported" First,
    /// Why it ended, according to the source.
    Cause "hangup_cause" Last,
    /// The protocol's code for that.
    Code "hangup_code" Last,
    /// Its outcome, according to the source.
    Disposition "disposition" Last,
    /// How the dialog was completed: `bye_a`, `cancel` and so on.
    Completion "completion" Last,
    /// Duration in whole seconds.
    Duration "duration_seconds" Last,
    /// Talk time in whole seconds.
    Billing "billing_seconds" Last,
    /// Ringing time in whole seconds.
    RingingSeconds "ringing_seconds" Last,
    /// Whether a fax was attempted.
    Fax "fax" Last,
    /// Whether it is recorded.
    Recorded "is_recorded" Last,
    /// Whether the source stopped the recording itself, so that it needs no finalizing.
    RecordingStopped "recording_stopped" Last,
    /// The file of the recording on the switch.
    Recording "recording" Last,
    /// Where the recording is permanently stored.
    RecordingKey "recording_key" Last,
    /// The recording's attachment: database, document and name as encoded in a path.
    RecordingLink "recording_link" Last,
    /// The recording's size in bytes.
    RecordingBytes "recording_bytes" Last,
    /// Whether its source doubts that it still exists.
    Suspect "suspect" Last,
    /// Which side was transferred, and where to.
    Transfer "transfer" Last,
    /// A label of the call.
    Label "label" Last,
    /// The caller's device.
    UserAgent "user_agent" Last,
}
