//! `callstore demo`: an hour of simulated calls, some of which die with their switch; needs nothing else installed.

mod exchange;

use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use stowage_base::console::say;
use stowage_base::demo::{Folder, serve_after};
use stowage_base::log;
use stowage_base::signals::Signals;
use stowage_http::body::BoxError;
use stowage_http::talker::{Talker, basic};
use stowage_http::target::encode;

use super::serve::{announce, block_on};
use crate::app::{App, World};
use crate::clock;
use crate::config::{Config, Source, load};
use exchange::Exchange;

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Exit after showing the record of a dead call
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Demonstrates the main use case, then serves until Ctrl-C.
    pub(super) fn run(&self) -> Result<(), BoxError> {
        let folder = Folder::make("callstore-demo")?;
        let config = configuration(folder.path())?;
        log::start(config.log.0, config.log.1);
        block_on(async {
            let signals = Signals::new()?;
            let app = App::start(config, World::default()).await?;
            announce(&app);
            let shown = show(&app).await;
            serve_after(shown, self.once, app, signals).await
        })
    }
}

fn configuration(folder: &Path) -> Result<Config, BoxError> {
    let text = json!({
        "listen": { "address": "127.0.0.1:0" },
        "journal": { "data": folder },
        "state": { "data": folder },
        "couchdb": { "url": "embedded", "data": folder.join("couchdb"), "username": USER, "password": PASSWORD },
        "records": { "close_after": "500ms", "kazoo_wait": "1s", "forks": true, "holds": true, "links": true },
        // As in production, only faster.
        "dead": { "hold_off": "3s" },
        "log": { "level": "warn" },
    });
    let text = toml::to_string(&text)?;
    load(&Source { text, environment: Vec::new() }).map_err(|problems| format!("{problems:?}").into())
}

async fn show(app: &App) -> Result<(), BoxError> {
    let address = app.address.ok_or("the demo has no listener")?;
    let talker = Talker::new(&format!("http://{address}/").parse()?, None)?;
    let exchange = Exchange::of_an_hour(clock::now());
    say(&format!("\n1. An hour of calls on two switches: {} events of KAZOO's form", exchange.events.len()))?;
    let taken = send(&talker, &exchange.events).await?;
    say(&format!("POST /v1/events  {taken} taken, each safe on disk before it was answered"))?;
    wait(&talker, "state=live", |dialogs| dialogs.len() == exchange.live).await?;
    table("\n2. What is going on now", &live(&talker, "").await?)?;
    say(
        "\n3. The switch fs2 dies. All that is heard of its calls is CHANNEL_DISCONNECTED; there is no CHANNEL_DESTROY, and so KAZOO writes no record",
    )?;
    send(&talker, &exchange.loss(clock::now())).await?;
    let lost = wait(&talker, "state=suspect", |dialogs| !dialogs.is_empty()).await?;
    table("In doubt:", &lost)?;
    say("\n4. Nothing newer is heard of them for the hold-off (3 s here, 15 s by default): they are declared dead")?;
    let dead = wait(&talker, "state=dead", |dialogs| dialogs.len() == lost.len()).await?;
    table("Dead, each with its end as of the last sign of life:", &dead)?;
    table("Still live:", &live(&talker, "").await?)?;
    let id = dead.first().and_then(|dialog| dialog.get("id")).and_then(Value::as_str).ok_or("nothing died")?.to_owned();
    let record = record(app, &id).await?;
    say("\n5. The record of one of them in CouchDB: term_cause 1000, its end, and when that was found out")?;
    say(&serde_json::to_string_pretty(&record)?)?;
    say("\nBy hand:")?;
    say(&format!("  curl http://{address}/v1/calls"))?;
    say(&format!("  curl http://{address}/v1/dialogs/{}", encode(&id)))?;
    say(&format!("  curl 'http://{address}/v1/dialogs?state=dead'"))?;
    say(&format!("  curl -N http://{address}/v1/events      # changes as they come"))?;
    if let Some(store) = app.store {
        say(&format!("  curl -u {USER}:{PASSWORD} http://{store}/{}/_all_docs", encode(DATABASE)))?;
    }
    say(&format!("  open http://{address}/ in a browser"))?;
    Ok(())
}

async fn send(talker: &Talker, events: &[Value]) -> Result<u64, BoxError> {
    let mut taken = 0;
    for some in events.chunks(256) {
        let lines: String = some.iter().map(|event| format!("{event}\n")).collect();
        let answer = talker.ask(Method::POST, "/v1/events", "application/x-ndjson", lines.into()).await?;
        taken += answer.get("taken").and_then(Value::as_u64).unwrap_or_default();
    }
    Ok(taken)
}

async fn live(talker: &Talker, query: &str) -> Result<Vec<Value>, BoxError> {
    let answer = talker.get(&format!("/v1/dialogs?limit=1000&{query}")).await?;
    Ok(answer.get("dialogs").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// Polls until the condition holds.
async fn wait(talker: &Talker, query: &str, is_so: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, BoxError> {
    for _ in 0..TRIES {
        let dialogs = live(talker, query).await?;
        if is_so(&dialogs) {
            return Ok(dialogs);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("the demo waited in vain for dialogs with {query}").into())
}

fn table(title: &str, dialogs: &[Value]) -> Result<(), BoxError> {
    say(title)?;
    say(&format!("  {:<8} {:<14} {:<14} {:<22} {:<22} {}", "state", "from", "to", "switch", "answered", "ended"))?;
    for dialog in dialogs.iter().take(SHOWN) {
        let text = |name: &str| dialog.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let time = |name: &str| text(name).split_once('T').map_or_else(|| "-".to_owned(), |(_, time)| time.to_owned());
        let line = [text("state"), text("from"), text("to"), text("node"), time("answered"), time("ended")];
        let [state, from, to, node, answered, ended] = line;
        say(&format!("  {state:<8} {from:<14} {to:<14} {node:<22} {answered:<22} {ended}"))?;
    }
    if dialogs.len() > SHOWN {
        say(&format!("  … and {} more", dialogs.len() - SHOWN))?;
    }
    Ok(())
}

async fn record(app: &App, id: &str) -> Result<Value, BoxError> {
    let store = app.store.ok_or("the demo has no store")?;
    let pair = basic(USER, PASSWORD);
    let talker = Talker::new(&format!("http://{store}/").parse()?, Some(pair))?;
    for _ in 0..TRIES {
        let all = talker.get(&format!("/{}/_all_docs?include_docs=true", encode(DATABASE))).await;
        let rows = all.ok().and_then(|all| all.get("rows").and_then(Value::as_array).cloned()).unwrap_or_default();
        let docs = rows.into_iter().filter_map(|row| row.get("doc").cloned());
        if let Some(found) = docs.into_iter().find(|doc| doc.get("dialog_id").and_then(Value::as_str) == Some(id)) {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err("the record was not written".into())
}

const USER: &str = "admin";
const PASSWORD: &str = "demo";
const DATABASE: &str = "cdr/copm3/dialogs";
const PAUSE: Duration = Duration::from_millis(100);
const TRIES: usize = 300;
const SHOWN: usize = 12;
