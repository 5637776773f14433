//! A plan as a form generated from the schemas: opened, tried, saved, and explained. Secrets are accepted, but never shown.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};
use stowage_storage::DRIVERS;
use stowage_testing::gateway::{Running, STORAGE, json as parsed};
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use tokio::sync::Notify;

use super::console::operate;
use super::keyboard::{choose, go_to, is};
use super::{SECOND, start};
use stowage_testing::browser::Browser;

/// Returns the plan in CouchDB.
async fn saved(gateway: &Running, id: &str) -> Value {
    parsed(&gateway.couch.request("GET", &format!("/{}/{id}", gateway.couch.plans), "", b"").await)
}

async fn open_plan(browser: &mut Browser, account: &str) {
    browser.enter("#plan-account", account).await;
    browser.until("document.querySelector('#plan-form').checkVisibility()").await;
}

/// Returns the selector of the field at a path.
fn at(path: &str) -> String {
    format!("#plan-form :is(input, select, textarea)[data-path=\"{path}\"]")
}

/// Fills in the field at a path, after opening the fold that hides it.
async fn fill_in(browser: &mut Browser, path: &str, value: &str) {
    browser.until(&format!("document.querySelector({})", json!(at(path)))).await;
    let folded = format!("#plan-form details:not([open]):has(> .field > [data-path=\"{path}\"])");
    if is(browser, &format!("document.querySelector({}) !== null", json!(folded))).await {
        go_to(browser, &format!("{folded} > summary")).await;
        browser.press("Enter", false).await;
    }
    go_to(browser, &at(path)).await;
    if is(browser, "document.activeElement.matches('select')").await {
        choose(browser, value).await;
    } else {
        // Tab has selected what was there.
        browser.type_in(value).await;
    }
    assert_eq!(browser.value("document.activeElement.value").await, value, "{path}");
}

/// Presses a button of the form.
async fn push(browser: &mut Browser, selector: &str) {
    go_to(browser, selector).await;
    browser.press("Enter", false).await;
}

/// Opens the account's plan, which does not exist yet, and adds a storage; returns its path in the form.
async fn add_storage(browser: &mut Browser, account: &str) -> String {
    go_to(browser, "#plan-account").await;
    browser.type_in(account).await;
    browser.press("Enter", false).await;
    browser.until("document.querySelector('#plan-form').checkVisibility()").await;
    assert!(browser.text("#plan-told").await.starts_with("There is no plan of "));
    push(browser, "#plan-form [data-act=add]").await;
    let path = browser.value("document.activeElement.dataset.path").await;
    let storage = path.as_str().unwrap().strip_suffix("/handler").expect("the focus is on the new storage").to_owned();
    let handlers = browser.value("[...document.activeElement.options].map((each) => each.value).filter(Boolean)").await;
    let mut known: Vec<_> = DRIVERS.iter().map(|driver| driver.handler).collect();
    known.sort_unstable();
    let mut handlers: Vec<_> =
        handlers.as_array().unwrap().iter().map(|each| each.as_str().unwrap().to_owned()).collect();
    handlers.sort_unstable();
    assert_eq!(handlers, known);
    storage
}

/// Fills in the bucket's settings, except for the secret.
async fn describe(browser: &mut Browser, storage: &str, server: &S3Server) {
    fill_in(browser, &format!("{storage}/handler"), "s3").await;
    let port = server.address().port().to_string();
    for (key, value) in [
        ("bucket", "recordings"),
        ("key", ACCESS_KEY),
        ("host", "127.0.0.1"),
        ("port", &*port),
        ("scheme", "http"),
        ("bucket_access_method", "path"),
    ] {
        fill_in(browser, &format!("{storage}/settings/{key}"), value).await;
    }
}

/// Tries the storages without the secret, with a wrong one, and with the right one.
async fn try_out(browser: &mut Browser, storage: &str, width: u32) {
    // A missing value is reported at its field, which gets the focus.
    push(browser, "#plan-test").await;
    let secret = format!("{storage}/settings/secret");
    browser.until(&format!("document.activeElement === document.querySelector({})", json!(at(&secret)))).await;
    let about = browser
        .value("document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent")
        .await;
    assert_eq!(about, "Field is required but missing");
    assert_eq!(browser.value("document.activeElement.type").await, "password");
    browser.fits(width).await;
    browser.type_in("not-the-secret").await;
    push(browser, "#plan-test").await;
    browser.until("document.querySelector('#plan-told').textContent.startsWith('Something is wrong')").await;
    let wrong = browser.text("#plan-form").await;
    assert!(wrong.contains("403"), "{wrong}");
    fill_in(browser, &secret, SECRET_KEY).await;
    push(browser, "#plan-test").await;
    browser.until("document.querySelector('#plan-told').textContent.startsWith('It works')").await;
}

/// Sends the month databases' attachments to a storage.
async fn send_to(browser: &mut Browser, id: &str) {
    for fold in ["plan/modb", "plan/modb/attachments"] {
        push(browser, &format!("#plan-form details[data-path=\"{fold}\"] > summary")).await;
    }
    fill_in(browser, "plan/modb/attachments/handler", id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_made_tried_saved_and_explained_with_the_keyboard_alone() {
    for (width, scheme) in [(360, "dark"), (1280, "light")] {
        let gateway = start().await;
        let server = S3Server::start().await;
        server.make_bucket("recordings");
        let account = gateway.account.clone();
        let mut browser = operate(&gateway, width, scheme).await;
        let storage = add_storage(&mut browser, &account).await;
        describe(&mut browser, &storage, &server).await;
        try_out(&mut browser, &storage, width).await;
        assert_eq!(saved(&gateway, &account).await["error"], "not_found", "nothing was saved");
        assert!(server.objects("recordings").is_empty());

        let id = storage.strip_prefix("attachments/").unwrap();
        send_to(&mut browser, id).await;
        push(&mut browser, "#plan-form button[type=submit]").await;
        browser.until("document.querySelector('#plan-told').textContent.startsWith('Saved as revision 1-')").await;
        let plan = saved(&gateway, &account).await;
        assert_eq!(plan["plan"], json!({ "modb": { "attachments": { "handler": id } } }), "{plan}");
        let settings = &plan["attachments"][id]["settings"];
        let given = (&settings["secret"], &settings["port"]);
        assert_eq!(given, (&json!(SECRET_KEY), &json!(server.address().port())), "{plan}");
        // The secret is no longer in the page.
        let shown = browser.value("document.documentElement.outerHTML + [...document.querySelectorAll('input, textarea')].map((each) => each.value)").await;
        assert!(!shown.as_str().unwrap().contains(SECRET_KEY));
        let secret = at(&format!("{storage}/settings/secret"));
        assert_eq!(browser.value(&format!("document.querySelector({}).placeholder", json!(secret))).await, "unchanged");
        browser.fits(width).await;

        let database = gateway.database();
        for (field, value) in [("db", &*database), ("type", "fax"), ("attachment", "fax.pdf")] {
            go_to(&mut browser, &format!("#explain-{field}")).await;
            browser.type_in(value).await;
        }
        browser.press("Enter", false).await;
        let told = format!("It goes to storage {id}.");
        browser.until(&format!("document.querySelector('#explain-told').textContent === {}", json!(told))).await;
        drop(browser);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_touched_stays_as_it_was() {
    let gateway = start().await;
    let server = Recorder::start().await;
    let account = gateway.account.clone();
    let url = server.url("/r").replace("http://", "http://me:canary-pass@");
    let before = json!({
        "pvt_type": "storage", "pvt_account_id": account,
        "attachments": { STORAGE: { "handler": "http", "name": "Archive", "field_separator": "",
            "field_list": [{ "arg": "id" }, { "group": [{ "const": "x" }] }],
            "settings": { "url": url, "verb": "PUT", "send_multipart": "false", "headers": { "X-Key": "canary-key" }, "own": { "a": [1] } } },
            // A null undoes what an earlier plan says.
            SECOND: null },
        "plan": { "modb": { "attachments": { "handler": STORAGE }, "types": {
                "fax": { "attachments": { "handler": STORAGE, "stub": "true" } },
                "cdr": { "attachments": { "handler": null } },
                "sms": { "attachments": { "handler": STORAGE, "stub": null } },
                "task": null } },
            "account": null, "system": {}, "yodb": { "attachments": null } },
        "ui_metadata": { "version": 7 },
    });
    gateway.save_plan(&account, before.clone()).await;
    let mut browser = operate(&gateway, 1280, "light").await;
    open_plan(&mut browser, &account).await;
    let shown = browser.value("document.documentElement.outerHTML + [...document.querySelectorAll('input, textarea')].map((each) => each.value)").await;
    assert!(!shown.as_str().unwrap().contains("canary"));
    let type_of =
        format!("document.querySelector({}).type", json!(at(&format!("attachments/{STORAGE}/settings/headers/X-Key"))));
    assert_eq!(browser.value(&type_of).await, "password");
    browser.set(&at(&format!("attachments/{STORAGE}/name")), "Faxes").await;
    browser.value("document.querySelector('#plan-form').requestSubmit()").await;
    browser.until("document.querySelector('#plan-told').textContent.startsWith('Saved as revision 2-')").await;
    let mut after = saved(&gateway, &account).await;
    let mut expected = before;
    expected["attachments"][STORAGE]["name"] = json!("Faxes");
    for key in ["_id", "_rev", "pvt_modified"] {
        after.as_object_mut().unwrap().remove(key);
    }
    after["attachments"][STORAGE].as_object_mut().unwrap().remove("_sig");
    assert_eq!(after, expected);

    // Concurrent changes are not overwritten.
    gateway.save_plan(&account, expected.clone()).await;
    browser.value("document.querySelector('#plan-form').requestSubmit()").await;
    browser.until("document.querySelector('#plan-told').textContent.startsWith('Somebody else')").await;
    // The storage's message about a file that it refuses.
    open_plan(&mut browser, &account).await;
    browser.until("document.querySelector('#plan-told').textContent.includes('revision 3-')").await;
    server.next(Method::PUT, 9, Answer::Status(507, "the disk is full"));
    browser.click("#plan-test").await;
    browser.until("document.querySelector('#plan-form').innerText.includes('the disk is full')").await;

    browser.set("#explain-db", &gateway.database()).await;
    browser.set("#explain-type", "fax").await;
    browser.enter("#explain-attachment", "fax.pdf").await;
    browser
        .until(&format!("document.querySelector('#explain-told').textContent === 'It goes to storage {STORAGE}.'"))
        .await;
    let explained = browser.text("#explained").await;
    assert!(explained.contains("/r/%7Bid%7Dx") && !explained.contains("canary"), "{explained}");
    browser.click("#forget").await;
    let left = "['plan-fields', 'explained'].map((id) => document.getElementById(id).children.length)";
    assert_eq!(browser.value(left).await, json!([0, 0]));
    drop(browser);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_leaves_alone_what_is_opened_meanwhile() {
    let gateway = start().await;
    let server = Recorder::start().await;
    let account = gateway.account.clone();
    gateway.plan("http", json!({ "url": server.url("/r") })).await;
    let mut browser = operate(&gateway, 1280, "light").await;
    open_plan(&mut browser, &account).await;
    let release = Arc::new(Notify::new());
    server.next(Method::PUT, 1, Answer::Held(Arc::clone(&release), Box::new(Answer::Normal)));
    let heard = "(() => { const before = call; call = async (...given) => {
        const answer = await before(...given);
        if (given[0] === 'POST') setTimeout(() => { window.heard = true; });
        return answer;
    }; })()";
    browser.value(heard).await;
    browser.value("document.querySelector('#plan-form').requestSubmit()").await;
    server.wait_until(|requests| !requests.is_empty()).await;
    let inert = "document.querySelector('#plan-form').inert";
    assert_eq!(browser.value(inert).await, json!(true), "what is typed now would be lost");

    browser.set("#plan-account", "").await;
    browser.value("document.querySelector('#plan-open').requestSubmit()").await;
    browser.until("document.querySelector('#plan-told').textContent.includes(' of the system')").await;
    assert_eq!(browser.value(inert).await, json!(false));
    release.notify_one();
    browser.until("window.heard").await;
    assert!(browser.text("#plan-told").await.contains(" of the system"));
    assert_eq!(browser.value("document.querySelectorAll('#plan-form .entry').length").await, json!(0));
    assert!(saved(&gateway, &account).await["_rev"].as_str().unwrap().starts_with("2-"));
    drop(browser);
    gateway.stop().await;
}
