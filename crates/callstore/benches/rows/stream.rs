//! Measures events in a RabbitMQ stream: read, folded and on disk, beside a consumer that only acknowledges.

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

use crate::program::{Client, Program, until};
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
        for _ in 0..2 {
            let before = acknowledge(&broker, events).await;
            let url = format!("[\"amqp://127.0.0.1:{}\"]", server.nodes[0].port);
            let folded = tokio::task::spawn_blocking(move || fold(&url)).await.unwrap();
            let after = acknowledge(&broker, events).await;
            let plain = (before + after).as_secs_f64() / 2.0;
            println!(
                "| KAZOO's events of 1.9 KB read from a stream, folded and on disk | {:.0}/s; a consumer that only acknowledges {:.0}/s: {:.2} of it | at least 0.8 |",
                events as f64 / folded.as_secs_f64(),
                events as f64 / plain,
                plain / folded.as_secs_f64()
            );
        }
    });
}

/// Runs the program on an empty folder until it has folded the whole stream.
fn fold(url: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let own = [
        ("CALLSTORE__JOURNAL__KIND", "rabbitmq"),
        ("CALLSTORE__BROKER__URLS", url),
        ("CALLSTORE__BROKER__PASSWORD", "guest"),
        ("CALLSTORE__BROKER__SWEEP", "false"),
    ];
    let began = Instant::now();
    let program = Program::start_with(folder.path(), &own);
    let mut client = Client::connect(program.address);
    until(|| client.get("/ready").0 == 200);
    began.elapsed()
}

async fn acknowledge(broker: &Broker, events: usize) -> Duration {
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    channel.basic_qos(2048, BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let began = Instant::now();
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
    began.elapsed()
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

const STREAM: &str = "callstore";
