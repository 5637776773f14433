//! Headless Chromium, driven by the DevTools protocol (<https://chromedevtools.github.io/devtools-protocol/>) over a pipe.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

/// A browser with one page; killed when dropped.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: UnboundedReceiver<Value>,
    /// The protocol's events so far, in their order.
    events: Vec<Value>,
    session: Option<String>,
    last: u64,
    profile: TempDir,
}

impl Browser {
    /// Starts the browser and opens a page.
    pub async fn open(url: &str) -> Self {
        let mut browser = Self::start();
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log", "Network", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.load("Page.navigate", json!({ "url": url })).await;
        browser
    }

    fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let said = File::create(profile.path().join("stderr")).expect("a file");
        // The protocol is spoken on file descriptors 3 and 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<&0 4>&1 </dev/null >&2; exec \"$@\"", "sh"]).arg(program());
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        command.args([
            "--no-first-run",
            "--remote-debugging-pipe",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().expect("a shell");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = unbounded_channel();
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { child, commands, messages, events: Vec::new(), session: None, last: 0, profile }
    }

    /// Sends a command and gives its result.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap_or_else(|_| self.gone(method));
        let until = Instant::now() + PATIENCE;
        loop {
            let mut message = self.message(&command.to_string(), until).await;
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{command}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// Sends a command that loads a page, and waits until that is there.
    pub async fn load(&mut self, method: &str, parameters: Value) {
        let before = self.events.len();
        let begun = self.call(method, parameters).await;
        assert!(begun["errorText"].is_null(), "{begun}");
        let until = Instant::now() + PATIENCE;
        while !self.events[before..].iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.message(method, until).await;
            self.events.push(message);
        }
    }

    /// Returns the next message. A page that keeps sending events must not delay a command for ever.
    async fn message(&mut self, command: &str, until: Instant) -> Value {
        let message = tokio::time::timeout_at(until, self.messages.recv()).await;
        message.ok().flatten().unwrap_or_else(|| self.gone(command))
    }

    fn gone(&self, command: &str) -> ! {
        let said = std::fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default();
        panic!("the browser does not answer {command}; ./test installs it\n{said}");
    }

    /// Returns the value of an expression in the page; awaits a promise.
    pub async fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Returns the visible text of the first element that a selector finds.
    pub async fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({}).innerText", json!(selector))).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true in the page. An expression that throws, because an element is still missing, counts as false.
    pub async fn until(&mut self, condition: &str) {
        let looks = format!(
            "new Promise((done) => {{
                const end = performance.now() + {};
                const holds = () => {{ try {{ return {condition}; }} catch {{ return false; }} }};
                const look = () => holds() ? done(true) : performance.now() > end ? done(false) : setTimeout(look, 10);
                look();
            }})",
            PATIENCE.as_millis() / 2
        );
        if self.value(&looks).await != true {
            panic!("never: {condition}\n{}\n{:?}", self.text("body").await, self.complaints());
        }
    }

    /// Types into a field, key by key as far as the page can tell, and presses Enter.
    pub async fn enter(&mut self, selector: &str, text: &str) {
        self.value(&format!("document.querySelector({}).focus()", json!(selector))).await;
        self.call("Input.insertText", json!({ "text": text })).await;
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 });
            self.call("Input.dispatchKeyEvent", key).await;
        }
    }

    /// Presses a key, such as `Tab`, `Enter`, `Escape` or ` `.
    pub async fn press(&mut self, key: &str, shift: bool) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            " " => (32, " "),
            "ArrowDown" => (40, ""),
            other => panic!("no key {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": if key == " " { "Space" } else { key }, "windowsVirtualKeyCode": code });
            event["modifiers"] = json!(if shift { 8 } else { 0 });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Presses Tab until an element that the selector finds has the focus, and checks that the focus is visible.
    pub async fn tab_to(&mut self, selector: &str) {
        let there = format!("document.activeElement?.matches({}) ?? false", json!(selector));
        for _ in 0..200 {
            self.press("Tab", false).await;
            if self.value(&there).await == true {
                let outline = self.value("getComputedStyle(document.activeElement).outlineStyle").await;
                assert_ne!(outline, "none", "the focus on {selector} cannot be seen");
                return;
            }
        }
        panic!("{selector} cannot be reached with Tab: {}", self.value("document.activeElement.outerHTML").await);
    }

    /// Types text where the focus is.
    pub async fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Sets a field's value, with the events that typing would cause.
    pub async fn set(&mut self, selector: &str, value: &str) {
        let script = format!(
            "(() => {{ const field = document.querySelector({}); field.focus(); field.value = {};
                for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {{ bubbles: true }})); }})()",
            json!(selector),
            json!(value)
        );
        self.value(&script).await;
    }

    /// Clicks on something.
    pub async fn click(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// Sets the width of the window, and the light or dark colour scheme.
    pub async fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Checks that no element exceeds the width, at any depth, except the heads of tables: on a phone, only screen readers use them.
    pub async fn fits(&mut self, width: u32) {
        let wide = format!(
            "[document.documentElement.scrollWidth, [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() && !each.closest('thead')
                && (each.getBoundingClientRect().right > {width} || each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline'
                    && !each.matches('input, select, textarea'))).map((each) => each.outerHTML.slice(0, 150))]"
        );
        assert_eq!(self.value(&wide).await, json!([width, []]));
    }

    /// Returns the elements whose contrast with their background is below 4.5 to 1 (WCAG 2.2, 1.4.3).
    pub async fn pale(&mut self) -> Value {
        self.value(PALE).await
    }

    /// Returns fields without a label, buttons without a name, and ids that two elements have (WCAG 2.2, 4.1.2).
    pub async fn nameless(&mut self) -> Value {
        self.value(NAMELESS).await
    }

    /// Returns the URLs that the page has requested so far.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_owned).collect()
    }

    /// Returns the console's messages so far: errors, warnings, violations of the policy.
    pub fn complaints(&self) -> Vec<String> {
        let told = self.events.iter().filter_map(|event| match event["method"].as_str()? {
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => Some(event["params"].to_string()),
            "Log.entryAdded" => {
                let entry = &event["params"]["entry"];
                Some(format!(
                    "{} {}",
                    entry["text"].as_str().unwrap_or_default(),
                    entry["url"].as_str().unwrap_or_default()
                ))
            }
            _ => None,
        });
        told.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end when their pipes to it break.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `STOWAGE_TEST_CHROMIUM`, or what `./test` unpacked, or the machine's own.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("STOWAGE_TEST_CHROMIUM") {
        return named.into();
    }
    let unpacked = crate::root().join("target/tools/bin/chromium-headless-shell");
    if unpacked.exists() { unpacked } else { "chromium".into() }
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The elements whose contrast with their background is below 4.5 to 1.
const PALE: &str = "
    (() => {
        const parts = (color) => color.match(/[\\d.]+/g).map(Number);
        const light = (color) => {
            const [r, g, b] = parts(color).slice(0, 3).map((part) => part / 255)
                .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (each) => {
            for (let up = each; up; up = up.parentElement) {
                const color = getComputedStyle(up).backgroundColor;
                if (parts(color)[3] !== 0) return color;
            }
            return 'rgb(255, 255, 255)';
        };
        const own = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        return [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() && own(each)).map((each) => {
            const [front, back] = [getComputedStyle(each).color, behind(each)].map(light);
            return [(Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05), each.outerHTML.slice(0, 100)];
        }).filter(([ratio]) => ratio < 4.5);
    })()";

/// Fields without a label, buttons without a name, and ids that two elements have.
const NAMELESS: &str = "
    (() => {
        const fields = [...document.querySelectorAll('input, select, textarea')].filter((each) => !each.labels.length && !each.ariaLabel);
        const buttons = [...document.querySelectorAll('button, summary')].filter((each) => each.checkVisibility() && !each.innerText.trim() && !each.ariaLabel);
        const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);
        const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
        const lost = [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')]
            .filter((each) => !document.getElementById(each.getAttribute('aria-labelledby') ?? each.getAttribute('aria-describedby')));
        return [...fields, ...buttons, ...lost].map((each) => each.outerHTML.slice(0, 100)).concat(twice);
    })()";
