//! What can be known of a leg or a dialog.

use serde::{Deserialize, Serialize};

use super::value::Rule;

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident $text:literal $rule:ident,)*) => {
        /// Something that can be known of a leg or a dialog; its text is its name in state, in the API and in the page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Attr {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Attr {
            /// The name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Which of two sayings of the same rank stays.
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
    /// Which event stream it comes from: `kazoo` or `era`.
    Source "source" First,
    /// The switch or server that handles it.
    Node "node" Last,
    /// `inbound` or `outbound`, as the switch sees it.
    Direction "direction" First,
    /// The account of KAZOO.
    Account "account_id" Last,
    /// The user.
    Owner "owner_id" Last,
    /// The device, or what else was authenticated.
    Authorizing "authorizing_id" Last,
    /// What kind that is.
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
    /// The URI of the request.
    Request "request" First,
    /// The caller's number as it came.
    CallerOriginal "caller_original" First,
    /// The caller's number as it is now.
    Caller "caller_number" Last,
    /// The caller's name.
    CallerName "caller_name" Last,
    /// The number as dialled.
    Dialled "dialled" First,
    /// The called number as it is now.
    Callee "callee_number" Last,
    /// The name of the called party.
    CalleeName "callee_name" Last,
    /// The caller's number in E.164.
    E164From "e164_origination" Last,
    /// The called number in E.164.
    E164To "e164_destination" Last,
    /// Where the caller's signalling comes from.
    ClientIp "client_ip" First,
    /// Its port.
    ClientPort "client_port" First,
    /// The media gateway's address.
    MediaIp "media_ip" Last,
    /// The leg that it is connected with.
    OtherLeg "other_leg" Last,
    /// The initiator's leg of a dialog.
    LegA "a_leg" First,
    /// The answering leg of a dialog.
    LegB "b_leg" Last,
    /// The Call-ID outside of the platform.
    OutsideId "outside_call_id" First,
    /// When it began.
    Created "created" First,
    /// When it rang.
    Ringing "ringing" First,
    /// When it was answered.
    Answered "answered" First,
    /// When the parties were connected first.
    Started "started" First,
    /// When they were connected last.
    Bridged "bridged" Last,
    /// When they were taken apart last.
    Unbridged "unbridged" Last,
    /// Whether it is on hold.
    Held "held" Last,
    /// When its source said that it ended.
    Ended "ended" First,
    /// When its source said that nothing more comes.
    Stopped "stopped" First,
    /// KAZOO's own record was announced.
    Reported "reported" First,
    /// Why it ended, as the source says it.
    Cause "hangup_cause" Last,
    /// The protocol's code for it.
    Code "hangup_code" Last,
    /// What became of it, as the source says it.
    Disposition "disposition" Last,
    /// How the dialog was completed: `bye_a`, `cancel` and so on.
    Completion "completion" Last,
    /// Whole seconds from beginning to end.
    Duration "duration_seconds" Last,
    /// Whole seconds of talk.
    Billing "billing_seconds" Last,
    /// Whole seconds of ringing.
    RingingSeconds "ringing_seconds" Last,
    /// Whether a fax was tried.
    Fax "fax" Last,
    /// Whether it is recorded.
    Recorded "is_recorded" Last,
    /// Whether the source stopped recording by itself, so that the recording needs nobody else to finish it.
    RecordingStopped "recording_stopped" Last,
    /// The file of the recording on the switch.
    Recording "recording" Last,
    /// Where the recording is stored for good.
    RecordingKey "recording_key" Last,
    /// The attachment that it became: database, document and name as they stand in a path.
    RecordingLink "recording_link" Last,
    /// Its size in bytes.
    RecordingBytes "recording_bytes" Last,
    /// The source doubts that it is still there.
    Suspect "suspect" Last,
    /// Which side was transferred, and where to.
    Transfer "transfer" Last,
    /// A label of the call.
    Label "label" Last,
    /// The caller's device.
    UserAgent "user_agent" Last,
}
