//! The page as a person uses it who has no mouse.

use serde_json::json;
use stowage_testing::browser::Browser;

/// Returns whether an expression is true in the page.
pub async fn is(browser: &mut Browser, expression: &str) -> bool {
    browser.value(expression).await == true
}

/// Goes to the first element that a selector finds: on with Tab, or back with Shift and Tab. It has to be seen that it has the focus.
pub async fn go_to(browser: &mut Browser, selector: &str) {
    let element = format!("document.querySelector({})", json!(selector));
    browser.until(&format!("{element}.checkVisibility()")).await;
    let is_there = format!("document.activeElement === {element}");
    let is_before = format!(
        "Boolean(document.activeElement.compareDocumentPosition({element}) & Node.DOCUMENT_POSITION_PRECEDING)"
    );
    let back = is(browser, &is_before).await;
    for _ in 0..200 {
        if is(browser, &is_there).await {
            let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle").await;
            assert_ne!(outline, "none", "the focus on {selector} cannot be seen");
            return;
        }
        browser.press("Tab", back).await;
    }
    panic!("{selector} cannot be reached: {}", browser.value("document.activeElement.outerHTML").await);
}

/// Chooses an option of the list that has the focus.
pub async fn choose(browser: &mut Browser, value: &str) {
    for _ in 0..50 {
        if browser.value("document.activeElement.value").await == *value {
            return;
        }
        browser.press("ArrowDown", false).await;
    }
    panic!("there is no option {value}: {}", browser.value("document.activeElement.outerHTML").await);
}
