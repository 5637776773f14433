//! Runs one sequence of operations on both sides.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::compare::{About, Names, difference, shown};
use super::features::Feature;
use super::memory::{Memory, Side};
use super::operation::{At, DOCUMENTS, Operation};
use super::outages::Outages;
use super::request::{Request, build};
use stowage_testing::gateway::{Couch, Running, Setup, authorization, exchange};
use stowage_testing::raw::RawResponse;
use stowage_testing::switch::Weather;

/// A server, and a gateway in front of another one. Each sequence has its own database on both.
pub struct World {
    direct: Couch,
    pub gateway: Running,
    /// The account on the direct side, which must differ if both sides are the same CouchDB.
    account: String,
    sequences: AtomicUsize,
    /// The control of the storage's outages.
    outages: Option<Outages>,
}

impl World {
    pub async fn start() -> Self {
        let mut setup = Setup::default();
        if Feature::PresentStubs.on() {
            setup = setup.set("couchdb.present_stubs", "true");
        }
        let gateway = setup.storing_in("recordings").await;
        let account = uuid::Uuid::new_v4().simple().to_string();
        Self { direct: Couch::start().await, gateway, account, sequences: AtomicUsize::new(0), outages: None }
    }

    /// Uses a storage that can go down, and a breaker that opens after this many failures; 0 for none.
    pub async fn with_outages(on_unavailable: &'static str, failures: u32) -> Self {
        let (outages, gateway) = Outages::start(on_unavailable, failures).await;
        let account = uuid::Uuid::new_v4().simple().to_string();
        let direct = Couch::start().await;
        Self { direct, gateway, account, sequences: AtomicUsize::new(0), outages: Some(outages) }
    }

    pub async fn stop(self) {
        self.gateway.stop().await;
    }

    fn names(&self, side: Side, sequence: usize) -> Names {
        let (account, host) = match side {
            Side::Direct => (&self.account, self.direct.url.trim_start_matches("http://").to_owned()),
            Side::Gateway => (&self.gateway.account, self.gateway.address.to_string()),
        };
        let (first, rest) = account.split_at(2);
        let (second, rest) = rest.split_at(2);
        let (year, month) = (1000 + sequence / 12, 1 + sequence % 12);
        Names { host, database: format!("account/{first}/{second}/{rest}-{year}{month:02}") }
    }

    /// Runs a sequence, calling `seen` before each step; returns the first difference with the steps that led to it.
    pub async fn run(&self, operations: &[Operation], seen: impl Fn()) -> Result<(), String> {
        let sequence = self.sequences.fetch_add(1, Ordering::Relaxed);
        let names = [self.names(Side::Direct, sequence), self.names(Side::Gateway, sequence)];
        let mut run = Run { world: self, names, memory: Memory::default(), log: String::new(), turns: None };
        for side in [Side::Direct, Side::Gateway] {
            // With one shard: the distribution over shards affects what CouchDB saves next to a refused document, and the order of lists.
            run.ask(side, &whole("PUT", "?q=1")).await.expect_status(201);
        }
        let mut outcome = Ok(());
        for (step, operation) in operations.iter().enumerate() {
            seen();
            outcome = run.step(step, operation).await;
            if outcome.is_err() {
                break;
            }
        }
        if let Some(outages) = &self.outages {
            outages.end();
            run.turns = None;
        }
        if outcome.is_ok() {
            outcome = run.look_at_everything().await;
        }
        if let Some(outages) = self.outages.as_ref().filter(|_| outcome.is_ok()) {
            outcome = outages.all_is_stored(&run).await;
        }
        self.gateway.settled().await;
        for side in [Side::Direct, Side::Gateway] {
            run.ask(side, &whole("DELETE", "")).await;
        }
        outcome.map_err(|difference| format!("{}\n{difference}", run.log))
    }
}

/// A request for the database itself.
fn whole(method: &'static str, query: &str) -> Request {
    Request { method, rest: query.to_owned(), headers: Vec::new(), body: Vec::new() }
}

pub struct Run<'a> {
    pub world: &'a World,
    pub names: [Names; 2],
    /// The next change of the storage's weather, and its time.
    turns: Option<(Weather, u64)>,
    memory: Memory,
    /// The steps so far, one per line.
    log: String,
}

impl Run<'_> {
    pub async fn ask(&self, side: Side, request: &Request) -> RawResponse {
        let (world, [here, there]) = (self.world, &self.names);
        let (address, account, names) = match side {
            Side::Direct => (here.host.parse().expect("an address"), &world.direct.admin, here),
            Side::Gateway => (world.gateway.address, &world.gateway.couch.admin, there),
        };
        let mut headers = request.headers.clone();
        headers.push(authorization(account));
        let target = format!("/{}{}", names.database.replace('/', "%2F"), request.rest);
        exchange(address, request.method, &target, &headers, &request.body).await
    }

    async fn step(&mut self, step: usize, operation: &Operation) -> Result<(), String> {
        if let Operation::Turn { to, after } = operation {
            let _ = writeln!(self.log, "{step:>3} {operation:?}");
            match (after, &self.world.outages) {
                (Some(after), _) => self.turns = Some((*to, *after)),
                (None, outages) => outages.iter().for_each(|outages| outages.switch.turn(*to)),
            }
            return Ok(());
        }
        let sides = [Side::Direct, Side::Gateway];
        let [Some(here), Some(there)] = sides.map(|side| build(operation, &self.memory, side, step)) else {
            return Ok(());
        };
        let was_down = self.world.outages.as_ref().is_some_and(|outages| outages.is_down(&self.world.gateway));
        let gateway = match (&self.world.outages, self.turns.take()) {
            (Some(outages), Some((to, after))) => {
                let asking = async { tokio::join!(self.ask(Side::Gateway, &there), outages.turn(to, after)).0 };
                asking.await
            }
            _ => self.ask(Side::Gateway, &there).await,
        };
        let is_down =
            was_down || self.world.outages.as_ref().is_some_and(|outages| outages.is_down(&self.world.gateway));
        let refuses = self.world.outages.as_ref().is_some_and(|outages| outages.refuses);
        if is_down && (refuses || operation.reads_bytes()) && (gateway.status == 504 || !gateway.complete) {
            let _ = writeln!(self.log, "{step:>3} {operation:?}\n      the storage is wanted now");
            for document in operation.touches() {
                self.look_at(document).await?;
            }
            return Ok(());
        }
        let direct = self.ask(Side::Direct, &here).await;
        let _ = writeln!(self.log, "{step:>3} {operation:?}\n      {} {} -> {}", here.method, here.rest, direct.status);
        self.learn(operation, &direct, &gateway)?;
        self.memory.mixed = self.world.outages.is_some();
        self.memory.packed |= matches!(operation, Operation::Put { gzip: true, .. });
        let about = match operation {
            Operation::Document { .. } => About::Documents,
            Operation::Database { .. } => About::List,
            _ => About::Bytes,
        };
        self.compare(about, &direct, &gateway)?;
        for document in operation.touches() {
            self.look_at(document).await?;
        }
        Ok(())
    }

    fn compare(&self, about: About, direct: &RawResponse, gateway: &RawResponse) -> Result<(), String> {
        let [here, there] = &self.names;
        difference(about, (direct, here), (gateway, there), &self.memory).map_or(Ok(()), Err)
    }

    /// Records the correspondence of the revisions in two responses.
    fn learn(&mut self, operation: &Operation, direct: &RawResponse, gateway: &RawResponse) -> Result<(), String> {
        let touched = operation.touches();
        let [one, other] =
            [direct, gateway].map(|answer| serde_json::from_slice::<Value>(&answer.body).unwrap_or(Value::Null));
        let tie = |memory: &mut Memory, document: &str, one: &Value, other: &Value| match (
            one["rev"].as_str(),
            other["rev"].as_str(),
        ) {
            (Some(one), Some(other)) => memory.learn(document, one, other),
            _ => Ok(()),
        };
        match (&one, &other, touched.as_slice()) {
            (Value::Array(ones), Value::Array(others), [_, ..]) => {
                for (one, other) in ones.iter().zip(others) {
                    tie(&mut self.memory, one["id"].as_str().unwrap_or_default(), one, other)?;
                }
                Ok(())
            }
            (_, _, [document]) => tie(&mut self.memory, document, &one, &other),
            _ => Ok(()),
        }
    }

    /// Compares all leaves of a document, and records them.
    async fn look_at(&mut self, document: &str) -> Result<(), String> {
        let read = Operation::Document {
            document: DOCUMENTS.into_iter().find(|known| *known == document).expect("one of the documents"),
            query: "?open_revs=all&revs=true",
            accept: "application/json",
            head: false,
        };
        let request = build(&read, &self.memory, Side::Direct, 0).expect("a read");
        let (direct, gateway) = (self.ask(Side::Direct, &request).await, self.ask(Side::Gateway, &request).await);
        let leaves: Value = serde_json::from_slice(&direct.body).unwrap_or(Value::Null);
        // Replicated revisions are in no response: they have the same names on both sides.
        for revision in leaves.as_array().into_iter().flatten() {
            let rev = revision["ok"]["_rev"].as_str().unwrap_or_default();
            if rev.contains("-0000000000") || rev.contains("-ffffffffff") {
                self.memory.learn(document, rev, rev)?;
            }
        }
        self.compare(About::Documents, &direct, &gateway)
            .map_err(|why| format!("afterwards, the leaves of {document:?}: {why}"))?;
        self.memory.see(document, &shown(leaves));
        Ok(())
    }

    /// Compares every attachment of every leaf.
    async fn look_at_everything(&mut self) -> Result<(), String> {
        for document in DOCUMENTS {
            for index in 0..self.memory.leaves(document).len() {
                let leaf = &self.memory.leaves(document)[index];
                let names: Vec<_> =
                    super::operation::NAMES.into_iter().filter(|name| leaf.attachments.contains_key(*name)).collect();
                for name in names {
                    let read =
                        Operation::Read { document, name, at: At::Leaf(index), head: false, headers: Vec::new() };
                    self.step(999, &read).await?;
                }
            }
        }
        Ok(())
    }
}
