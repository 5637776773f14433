//! `stowage demo`: stores a real recording and reads it back, with nothing else installed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use stowage_base::console::say;
use stowage_base::demo::{Folder, serve_after};
use stowage_base::log;
use stowage_base::signals::Signals;
use stowage_http::body::BoxError;
use stowage_http::talker::{Talker, basic};

use super::serve::{announce, block_on};
use crate::app::App;
use crate::config::{Config, Source, load};

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Exit once the recording has been read back
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Runs the demo, then serves until Ctrl-C.
    pub(super) fn run(&self) -> Result<(), BoxError> {
        let folder = Folder::make("stowage-demo")?;
        std::fs::create_dir_all(folder.path().join("attachments"))?;
        let config = configuration(folder.path())?;
        log::start(config.log.format, config.log.level);
        block_on(async {
            let signals = Signals::new()?;
            let app = App::start(config).await?;
            announce(&app);
            let shown = show(&app, folder.path()).await;
            serve_after(shown, self.once, app, signals).await
        })
    }
}

fn configuration(folder: &Path) -> Result<Config, BoxError> {
    let text = json!({
        "listen": { "address": "127.0.0.1:0" },
        "admin": { "address": "127.0.0.1:0", "tokens": [TOKEN] },
        "couchdb": { "url": "embedded", "data": folder.join("couchdb"), "username": USER, "password": PASSWORD },
        "storage": { "file_root": folder.join("attachments") },
        "log": { "level": "warn" },
    });
    let text = toml::to_string(&text)?;
    load(&Source { text, environment: Vec::new() }).map_err(|problems| format!("{problems:?}").into())
}

async fn show(app: &App, folder: &Path) -> Result<(), BoxError> {
    let address = app.proxy.ok_or("the demo has no listener")?;
    let client = talker(address)?;
    say("\n1. A plan: voicemails of this account's month databases go to a directory")?;
    for database in ["system_data", DATABASE] {
        client.send(Method::PUT, &format!("/{database}"), "application/json", Bytes::new()).await?;
    }
    let plan = plan();
    save(&client, &format!("/system_data/{ACCOUNT}"), &plan).await?;
    say(&serde_json::to_string_pretty(&plan)?)?;
    say("\n2. A voicemail's document, and its recording")?;
    let document = json!({ "pvt_type": "mailbox_message", "name": "mailbox 1010 message", "pvt_account_id": ACCOUNT });
    let made = save(&client, &format!("/{DATABASE}/{DOCUMENT}"), &document).await?;
    let rev = made.get("rev").and_then(Value::as_str).ok_or("the document was not made")?.to_owned();
    let target = format!("/{DATABASE}/{DOCUMENT}/{ATTACHMENT}");
    let put = client.send(Method::PUT, &format!("{target}?rev={rev}"), "audio/x-wav", RECORDING.into()).await?;
    say(&format!("PUT {target}  {} bytes\n{}", RECORDING.len(), String::from_utf8_lossy(&put).trim_end()))?;
    say(
        "\n3. The document as clients see it, with CouchDB's stub; and in CouchDB itself: a pointer, no bytes, no secret",
    )?;
    let store = talker(app.store.ok_or("the demo has no store")?)?;
    for server in [&client, &store] {
        let document = server.get(&format!("/{DATABASE}/{DOCUMENT}")).await?;
        say(&serde_json::to_string_pretty(&document)?)?;
    }
    say("\n4. The stored file")?;
    let stored = only_file(&folder.join("attachments").join("voicemails"))?;
    say(&format!("{}  {} bytes", stored.display(), std::fs::metadata(&stored)?.len()))?;
    if std::fs::read(&stored)? != RECORDING {
        return Err("the stored file is not the recording".into());
    }
    say("\n5. The recording comes back")?;
    let back = client.send(Method::GET, &target, "", Bytes::new()).await?;
    if back != RECORDING {
        return Err("what came back is not the recording".into());
    }
    say(&format!("GET {target}  {} bytes, the same", back.len()))?;
    say("\nBy hand:")?;
    let base = format!("curl -u {USER}:{PASSWORD} http://{address}");
    say(&format!("  {base}/{DATABASE}/{DOCUMENT}"))?;
    say(&format!("  {base}{target} -o recording.wav"))?;
    say(&format!("  {base}/{DATABASE}/by-hand/hello.wav -X PUT -H 'Content-Type: audio/x-wav' -T recording.wav"))?;
    say("  (a document without a type: no plan speaks of it, CouchDB keeps its attachment)")?;
    if let Some(admin) = app.admin {
        say(&format!("  curl -H 'X-Auth-Token: {TOKEN}' http://{admin}/v2/accounts/{ACCOUNT}/storage"))?;
    }
    Ok(())
}

fn talker(address: SocketAddr) -> Result<Talker, BoxError> {
    Talker::new(&format!("http://{address}").parse()?, Some(basic(USER, PASSWORD)))
}

async fn save(client: &Talker, target: &str, document: &Value) -> Result<Value, BoxError> {
    client.ask(Method::PUT, target, "application/json", document.to_string().into()).await
}

fn plan() -> Value {
    json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "file", "name": "Demo", "settings": { "directory": "voicemails" } } },
        "plan": { "modb": { "types": { "mailbox_message": { "attachments": { "handler": STORAGE } } } } },
    })
}

/// Returns the only file below a folder.
fn only_file(folder: &Path) -> Result<PathBuf, BoxError> {
    let mut here = folder.to_path_buf();
    while here.is_dir() {
        let mut entries = std::fs::read_dir(&here)?;
        here = entries.next().ok_or("nothing was stored")??.path();
    }
    Ok(here)
}

const RECORDING: &[u8] = include_bytes!("../../assets/recording.wav");
const USER: &str = "admin";
const PASSWORD: &str = "demo";
const TOKEN: &str = "demo-token";
const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
const DATABASE: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202611";
const DOCUMENT: &str = "202611-a3f7c2";
const ATTACHMENT: &str = "uploaded_file_63960000000.wav";
const STORAGE: &str = "0123456789abcdef0123456789abcdef";
