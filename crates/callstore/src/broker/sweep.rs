//! Queries all of KAZOO's trackers (`ecallmgr`) for the channels they know (`kapi_call`: `query_channels_req`).
//!
//! The request goes to the exchange `callevt` with the routing key `call.status_req.channels`; every tracker responds to the queue named
//! by the request's `Server-ID`, via the direct exchange `targeted` (`kz_amqp_util:targeted_publish`). Without `Active-Only`, a tracker
//! that knows no channels responds too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::error::{BrokerError, Kind};
use super::link::{Broker, Link};

/// A snapshot of what all trackers know.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// The trackers that responded, by Erlang node.
    pub answered: BTreeSet<String>,
    /// Trackers that responded to a recent sweep but not to this one.
    pub missing: BTreeSet<String>,
    /// The channels by Call-ID; if several trackers know one, the latest response.
    pub channels: BTreeMap<String, LiveChannel>,
}

impl Sweep {
    /// Returns whether absence from the sweep is conclusive: at least one tracker responded, and none is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.answered.is_empty() && self.missing.is_empty()
    }
}

/// A leg as a tracker knows it.
#[derive(Debug, Clone)]
pub struct LiveChannel {
    /// The Erlang node of its switch (`Media-Node`); empty if the tracker did not report it.
    pub switch: String,
    /// The tracker that reported it.
    pub tracker: String,
    /// The fields by KAZOO's names; null if it has none.
    pub facts: Map<String, Value>,
}

/// Queries KAZOO's trackers over the broker.
#[derive(Debug)]
pub struct Trackers {
    broker: Broker,
    /// How long to wait for responses.
    answers: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    line: Option<Line>,
    /// How many consecutive sweeps each known tracker has missed.
    missed: BTreeMap<String, u32>,
    asked: u64,
}

struct Line {
    link: Link,
    channel: Channel,
    queue: ShortString,
    answers: Consumer,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Trackers {
    /// Connects on the first query.
    #[must_use]
    pub fn new(broker: Broker, answers: Duration) -> Self {
        Self { broker, answers, state: Mutex::new(State::default()) }
    }

    /// Queries all trackers once.
    ///
    /// # Errors
    /// If the query could not be sent, which says nothing about any call.
    pub async fn sweep(&self) -> Result<Sweep, BrokerError> {
        let mut state = self.state.lock().await;
        // Taken out, so that a connection that failed, or whose sweep was cancelled, is not reused.
        let mut line = match state.line.take().filter(|line| line.link.is_up()) {
            Some(line) => line,
            None => Line::open(&self.broker).await?,
        };
        state.asked += 1;
        let question = format!("{}-{}", self.broker.config().name, state.asked);
        line.ask(&question).await?;
        let sweep = line.collect(&question, Instant::now() + self.answers, &mut state.missed).await?;
        state.line = Some(line);
        Ok(sweep)
    }
}

impl Line {
    async fn open(broker: &Broker) -> Result<Self, BrokerError> {
        let link = broker.open().await?;
        let channel = link.channel().await?;
        for (exchange, kind) in [("callevt", ExchangeKind::Topic), (TARGETED, ExchangeKind::Direct)] {
            let kazoo = ExchangeDeclareOptions::default();
            link.asks(channel.exchange_declare(exchange.into(), kind, kazoo, FieldTable::default())).await?;
        }
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = link.asks(channel.queue_declare("".into(), own, FieldTable::default())).await?.name().clone();
        let (name, key) = (queue.clone(), queue.clone());
        let binding =
            channel.queue_bind(name, TARGETED.into(), key, QueueBindOptions::default(), FieldTable::default());
        link.asks(binding).await?;
        link.asks(channel.basic_qos(AHEAD, BasicQosOptions::default())).await?;
        let (name, options) = (queue.clone(), BasicConsumeOptions::default());
        let answers = link.asks(channel.basic_consume(name, "sweep".into(), options, FieldTable::default())).await?;
        Ok(Self { link, channel, queue, answers })
    }

    async fn ask(&self, question: &str) -> Result<(), BrokerError> {
        let body = json!({
            "Event-Category": "call_event",
            "Event-Name": "query_channels_req",
            "Active-Only": false,
            "Fields": FIELDS,
            "Server-ID": self.queue.as_str(),
            "Msg-ID": question,
            "App-Name": "callstore",
            "App-Version": env!("CARGO_PKG_VERSION"),
        });
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let body = body.to_string();
        let key = "call.status_req.channels".into();
        let options = BasicPublishOptions::default();
        let asking = self.channel.basic_publish("callevt".into(), key, options, body.as_bytes(), properties);
        self.link.asks(asking).await.map(drop)
    }

    /// Collects responses until the deadline, or until all previously known trackers have responded.
    async fn collect(
        &mut self,
        question: &str,
        deadline: Instant,
        missed: &mut BTreeMap<String, u32>,
    ) -> Result<Sweep, BrokerError> {
        let mut sweep = Sweep::default();
        let is_first = missed.is_empty();
        while is_first || missed.keys().any(|known| !sweep.answered.contains(known)) {
            let Ok(answer) = timeout_at(deadline, self.answers.next()).await else { break };
            let gone = || BrokerError::because(Kind::Unreachable, "the queue for answers is gone");
            let answer = answer.ok_or_else(gone)??;
            let tag = answer.delivery_tag;
            take(&answer.data, question, &mut sweep);
            self.link.asks(self.channel.basic_ack(tag, BasicAckOptions::default())).await?;
        }
        for tracker in &sweep.answered {
            missed.insert(tracker.clone(), 0);
        }
        missed.retain(|tracker, misses| {
            if sweep.answered.contains(tracker) {
                return true;
            }
            sweep.missing.insert(tracker.clone());
            *misses += 1;
            *misses < FORGOTTEN
        });
        Ok(sweep)
    }
}

/// Processes one response; responses to an earlier query, and malformed ones, are ignored.
fn take(body: &[u8], question: &str, sweep: &mut Sweep) {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else { return };
    let is = |name: &str, value: &str| answer.get(name).and_then(Value::as_str) == Some(value);
    if !is("Event-Name", "query_channels_resp") || !is("Msg-ID", question) {
        return;
    }
    let Some(tracker) = answer.get("Node").and_then(Value::as_str).map(str::to_owned) else { return };
    let Some(Value::Object(channels)) = answer.remove("Channels") else { return };
    for (id, facts) in channels {
        let Value::Object(facts) = facts else { continue };
        let switch = facts.get("Media-Node").and_then(Value::as_str).unwrap_or_default().to_owned();
        sweep.channels.insert(id, LiveChannel { switch, tracker: tracker.clone(), facts });
    }
    sweep.answered.insert(tracker);
}

const TARGETED: &str = "targeted";
/// Prefetch count.
const AHEAD: u16 = 16;
/// A tracker that missed this many sweeps is no longer expected to respond: it was removed, or is as good as dead.
const FORGOTTEN: u32 = 3;
/// Fields requested for each channel (`ecallmgr_fs_channel:to_api_props`): those that identify its owner, and those that can be
/// recovered if its events were lost.
const FIELDS: [&str; 22] = [
    "Account-ID",
    "Answered",
    "Authorizing-ID",
    "Authorizing-Type",
    "Bridge-ID",
    "Call-Direction",
    "Call-ID",
    "Call-Interaction-ID",
    "Callee-ID-Number",
    "Caller-ID-Name",
    "Caller-ID-Number",
    "Destination",
    "Elapsed-Seconds",
    "From",
    "Is-On-Hold",
    "Media-Node",
    "Other-Leg-Call-ID",
    "Owner-ID",
    "Realm",
    "Timestamp",
    "To",
    "Username",
];
