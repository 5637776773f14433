//! Measures events in a RabbitMQ stream: read and folded, beside a consumer that only acknowledges.

use std::time::{Duration, Instant};

use callstore::broker::{Broker, Config as BrokerConfig};
use callstore::journal::rabbitmq::{Config, StreamJournal};
use callstore::journal::{Draft, Journal};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_http::connect::{Connector, Timeouts};
use stowage_http::egress::Egress;

use crate::program::{Client, Program, cpu, until};
use crate::servers::rabbitmq::RabbitMq;

/// Publishes the requests' events to a stream, and reads it three times: only acknowledging, with the program, and only acknowledging again.
pub(crate) fn row(requests: &[Vec<u8>]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = RabbitMq::start(1).await;
        let broker = broker(&server);
        let stream = Config {
            stream: STREAM.to_owned(),
            max_age: Duration::from_secs(86_400),
            max_bytes: None,
            segment_bytes: None,
        };
        let journal = StreamJournal::new(broker.clone(), stream, Tasks::default());
        for request in requests {
            let lines = request.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let draft = |line: &[u8]| Draft { body: line.to_vec().into(), is_decision: false };
            journal.append(lines.map(draft).collect()).await.unwrap();
        }
        let events = requests.len() * crate::events::AT_ONCE;
        for _ in 0..ROUNDS {
            let before = acknowledge(&broker, events).await;
            let url = format!("[\"amqp://127.0.0.1:{}\"]", server.nodes[0].port);
            let folded = tokio::task::spawn_blocking(move || fold(&url)).await.unwrap();
            let after = acknowledge(&broker, events).await;
            report(events as f64, &before, &after, &folded);
        }
    });
}

/// How long it took, and how much of the processor.
struct Took {
    time: Duration,
    cpu: f64,
}

fn report(events: f64, before: &Took, after: &Took, folded: &Took) {
    let plain = (before.time + after.time).as_secs_f64() / 2.0;
    let micros = |cpu: f64| cpu * 1e6 / events;
    println!(
        "| KAZOO's events of 1.9 KB read from a stream and folded | {:.0}/s; a consumer that only acknowledges {:.0}/s ({:.0}, {:.0}): {:.2} of it; processor for each {:.1} and {:.1} µs | at least 0.8 |",
        events / folded.time.as_secs_f64(),
        events / plain,
        events / before.time.as_secs_f64(),
        events / after.time.as_secs_f64(),
        plain / folded.time.as_secs_f64(),
        micros(folded.cpu),
        micros(f64::midpoint(before.cpu, after.cpu)),
    );
}

/// The program on an empty folder, until it has all of the stream. As with the other consumer it counts from where it connects to read: it
/// listens once it does.
fn fold(url: &str) -> Took {
    let folder = tempfile::tempdir().unwrap();
    let own = [
        ("CALLSTORE__JOURNAL__KIND", "rabbitmq"),
        ("CALLSTORE__BROKER__URLS", url),
        ("CALLSTORE__BROKER__PASSWORD", "guest"),
        ("CALLSTORE__BROKER__SWEEP", "false"),
    ];
    let program = Program::start_with(folder.path(), &own);
    let began = Instant::now();
    let mut client = Client::connect(program.address);
    until(|| client.get("/ready").0 == 200);
    Took { time: began.elapsed(), cpu: program.cpu() }
}

/// As the program reads: as much may be sent ahead, and as many are acknowledged at once.
async fn acknowledge(broker: &Broker, events: usize) -> Took {
    let (began, cpu_before) = (Instant::now(), cpu("self"));
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    channel.basic_qos(2048, BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let mut messages = channel.basic_consume(STREAM.into(), "plain".into(), options, arguments).await.unwrap();
    let mut taken = 0;
    while taken < events {
        let message = messages.next().await.unwrap().unwrap();
        // The call store's own markers have no body.
        taken += usize::from(!message.data.is_empty());
        if taken % 256 == 0 {
            message.acker.ack(BasicAckOptions { multiple: true }).await.unwrap();
        }
    }
    Took { time: began.elapsed(), cpu: cpu("self") - cpu_before }
}

fn broker(server: &RabbitMq) -> Broker {
    let time = Duration::from_secs(10);
    let timeouts = Timeouts { connect: time, tls_handshake: time, response_head: time, idle_body: time };
    let connector = Connector::trusting(rustls::RootCertStore::empty(), Egress::default(), timeouts).unwrap();
    let config = BrokerConfig {
        nodes: server.origins(),
        vhost: "/".to_owned(),
        username: "guest".to_owned(),
        password: Secret::new("guest"),
        heartbeat: time,
        patience: time,
        name: "bench".to_owned(),
    };
    Broker::new(config, connector, Tasks::default())
}

/// Rounds of one run.
const ROUNDS: usize = 3;
const STREAM: &str = "callstore";
