//! The page in a real browser, at desktop and phone sizes, in light and dark mode, with the keyboard alone.

use callstore::app::World;
use serde_json::json;
use stowage_testing::browser::Browser;

use crate::events::{begun, ended};
use crate::running;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_shown_as_they_change_and_a_dialog_tells_its_story() {
    let store = running::start(&[], World::default()).await;
    store.post(&begun("a1", "b1")).await;
    store.post(&begun("a2", "b2")).await;
    for (width, scheme) in [(360, "light"), (1280, "dark")] {
        let mut browser = Browser::open(&format!("http://{}/", store.address)).await;
        browser.look(width, scheme).await;
        browser.until("document.querySelectorAll('#dialogs tbody tr').length === 2").await;
        browser.until("document.querySelector('#state').textContent === 'ready'").await;
        assert!(browser.text("#instance").await.contains("yes, epoch"));
        browser.tab_to("#dialogs [data-act=story]").await;
        let dialog = browser.value("document.activeElement.dataset.key").await;
        // The focus stays on the same node across two refreshes.
        browser.value("window.focused = document.activeElement").await;
        browser.value("window.before = turns").await;
        browser.until("turns > before + 2").await;
        assert_eq!(browser.value("document.activeElement === focused").await, true);
        browser.press("Enter", false).await;
        browser.until("document.querySelectorAll('#story tbody tr').length > 2").await;
        browser.until("document.activeElement.id === 'story-title'").await;
        let title = browser.text("#story-title").await;
        assert!(title.contains(dialog.as_str().unwrap()) && title.ends_with("(live)"), "{title}");
        assert!(browser.text("#story").await.contains("CHANNEL_BRIDGE"));
        browser.fits(width).await;
        assert_eq!((browser.pale().await, browser.nameless().await), (json!([]), json!([])), "{width} {scheme}");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
    let mut browser = Browser::open(&format!("http://{}/", store.address)).await;
    browser.until("document.querySelectorAll('#dialogs tbody tr').length === 2").await;
    store.post(&ended("a1", "b1")).await;
    store.post(&ended("a2", "b2")).await;
    browser.until("document.querySelector('#more').textContent === 'There are none.'").await;
    browser.set("#which", "ended").await;
    browser.value("document.querySelector('#filter').requestSubmit()").await;
    browser.until("document.querySelector('#dialogs tbody .ended')?.textContent === 'ended'").await;
    drop(browser);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_and_kept_nowhere() {
    let store = running::start(&[("LISTEN__TOKENS", "[\"a-tökén\"]")], World::default()).await;
    let mut browser = Browser::open(&format!("http://{}/", store.address)).await;
    browser.until("document.querySelector('#state').textContent === 'a token is needed'").await;
    browser.enter("#token", "a-tökén").await;
    browser.until("document.querySelector('#state').textContent === 'ready'").await;
    let kept = "[document.querySelector('#token').value, sessionStorage.length, localStorage.length, document.cookie]";
    assert_eq!(browser.value(kept).await, json!(["", 0, 0, ""]));
    store.stop().await;
    browser.until("document.querySelector('#state').textContent === 'the call store does not answer'").await;
}
