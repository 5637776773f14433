//! The console can be read by day and by night, and everything in it has a name: WCAG 2.2, success criteria 1.4.3, 1.4.10 and 4.1.2.

use serde_json::{Value, json};
use stowage_testing::gateway::STORAGE;

use super::console::{fits, operate};
use super::start;
use crate::moving::world::{fill, plan};

/// What has less contrast than 4.5 to 1 with what is behind it.
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
        // Every fold, and what is in it, and what is wrong with something.
        browser.value("(async () => { for (let open = 0; open < document.querySelectorAll('details').length;) { const all = [...document.querySelectorAll('details')]; open = all.length; all.forEach((each) => { each.open = true; }); await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); } })()").await;
        browser.value("complain(by('plan-form'), [[['plan', 'modb', 'connection'], 'It is wrong'], [['nowhere'], 'That too']])").await;
        assert_eq!(browser.value(PALE).await, json!([]), "{width} {scheme}");
        assert_eq!(browser.value(NAMELESS).await, json!([]), "{width} {scheme}");
        fits(&mut browser, width).await;
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
