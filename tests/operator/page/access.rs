//! The console is readable in light and dark mode, and all elements have names: WCAG 2.2, success criteria 1.4.3, 1.4.10 and 4.1.2.

use serde_json::{Value, json};
use stowage_testing::gateway::STORAGE;

use super::console::operate;
use super::start;
use crate::moving::world::{fill, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_has_a_name_and_can_be_read_by_day_and_by_night() {
    let gateway = start().await;
    gateway.make_database().await;
    fill(&gateway, 4).await;
    plan(&gateway, Some(STORAGE)).await;
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        let mut browser = operate(&gateway, width, scheme).await;
        browser.set("#run-names", &gateway.account).await;
        browser.click("#run-count").await;
        browser.until("!document.querySelector('#run-start').disabled").await;
        browser.click("#runs article [data-act=result]").await;
        browser.until("document.querySelector('.result table')").await;
        browser.enter("#plan-account", &gateway.account).await;
        browser.until("document.querySelector('[data-path=\"plan/modb\"]')").await;
        // Open all details, and show some errors.
        browser.value("(async () => { for (let open = 0; open < document.querySelectorAll('details').length;) { const all = [...document.querySelectorAll('details')]; open = all.length; all.forEach((each) => { each.open = true; }); await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); } })()").await;
        browser.value("complain(by('plan-form'), [[['plan', 'modb', 'connection'], 'It is wrong'], [['nowhere'], 'That too']])").await;
        assert_eq!(browser.pale().await, json!([]), "{width} {scheme}");
        assert_eq!(browser.nameless().await, json!([]), "{width} {scheme}");
        browser.fits(width).await;
        let tree = browser.call("Accessibility.getFullAXTree", json!({})).await;
        let named = |role: &str, name: &str| {
            let is = |node: &&Value| node["role"]["value"] == role && node["name"]["value"] == name;
            tree["nodes"].as_array().unwrap().iter().any(|node| is(&node))
        };
        for (role, name) in [
            ("region", "Storages in use"),
            ("region", "Jobs that wait"),
            ("region", "Migrations and verifications"),
            ("region", "Plan"),
            ("table", "Jobs that wait"),
            ("article", "Migration out of CouchDB, counted only is done"),
            ("group", "Where"),
            ("navigation", "Sections"),
        ] {
            assert!(named(role, name), "{role} {name} at {width}");
        }
    }
    gateway.stop().await;
}
