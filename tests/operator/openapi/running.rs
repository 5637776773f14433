//! schemathesis sends valid and invalid requests to a running gateway.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use stowage_testing::gateway::{Running, Setup, exchange, json as parsed};

const TOKEN: &str = "operator-token";
/// The account of the plans to test: requests about missing plans would test little.
const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// Starts a gateway that can reach no other server: whatever a generated plan names is refused or silent.
async fn start() -> Running {
    let setup = Setup::default()
        .set("admin.tokens", TOKEN)
        .set("plans.allow_unvalidated", "true")
        .set("egress.deny", "0.0.0.0/0,::/0")
        .set("timeouts.connect", "200ms")
        .set("timeouts.response_head", "2s");
    let gateway = setup.start().await;
    gateway.couch.note_account(ACCOUNT);
    gateway
}

/// Runs schemathesis, with a timeout. Returns whether it succeeded, and its output.
async fn schemathesis(gateway: &Running, arguments: &[&str]) -> (bool, String) {
    let program =
        std::env::var("STOWAGE_TEST_SCHEMATHESIS").expect("STOWAGE_TEST_SCHEMATHESIS: run ./test, which installs it");
    let url = format!("http://{}", gateway.app.admin.expect("an admin listener"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let mut command = Command::new(program);
    command.current_dir(folder.path()).args(["run", description, "--url", &url, "--no-color"]).args(arguments);
    command.args(["--header", &format!("X-Auth-Token: {TOKEN}"), "--request-timeout", "20", "--max-failures", "5"]);
    command.args(["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("schemathesis starts");
    let mut output = child.stdout.take().expect("its output");
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let Ok(text) = tokio::time::timeout(LONGEST, reading).await else {
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        panic!("schemathesis did not end in {LONGEST:?}");
    };
    (child.wait().expect("it ends").success(), text.expect("a thread").expect("its output"))
}

/// Checks that do not apply: valid members may form an invalid plan together, and a plan may contain `null` anywhere, members for other programs, and
/// settings unknown to the handler. `tests/operator/api` covers what has to be refused.
const NOT_PROMISED: &str = "negative_data_rejection,positive_data_acceptance";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_what_happens() {
    let gateway = start().await;
    let account = ["a", "b"].map(|name| format!("/v2/accounts/{ACCOUNT}/users/{name}/storage"));
    let plan =
        json!({"data": {"attachments": {ACCOUNT: {"handler": "file", "settings": {"directory": "d"}}}}}).to_string();
    let token = [("X-Auth-Token".to_owned(), TOKEN.to_owned())];
    for path in account {
        let admin = gateway.app.admin.expect("an admin listener");
        assert_eq!(exchange(admin, "PUT", &path, &token, plan.as_bytes()).await.status, 201);
    }
    let phases = ["--phases", "examples,fuzzing,stateful", "--max-examples", "5", "--seed", "1"];
    let checks = ["--checks", "all", "--exclude-checks", NOT_PROMISED];
    let (content, text) = schemathesis(&gateway, &[phases.as_slice(), &checks].concat()).await;
    assert!(content, "{text}");
    let documents = gateway.couch.request("GET", &format!("/{}/_all_docs", gateway.couch.plans), "", b"").await;
    let plans = parsed(&documents)["rows"].as_array().expect("rows").len();
    assert!(plans > 2, "no generated plan was good enough to be saved: {text}");
    gateway.stop().await;
}

/// Invalid tokens, and unknown methods and parameters.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_described_is_refused() {
    let gateway = start().await;
    let checks = "not_a_server_error,unsupported_method,allow_header_conformance,ignored_auth,missing_required_header,\
                  status_code_conformance,response_schema_conformance,content_type_conformance";
    let arguments =
        ["--phases", "coverage", "--mode", "negative", "--checks", checks, "--exclude-method", "HEAD", "--seed", "1"];
    let (content, text) = schemathesis(&gateway, &arguments).await;
    assert!(content, "{text}");
    gateway.stop().await;
}

/// Much longer than a run takes.
const LONGEST: Duration = Duration::from_secs(600);
