//! The page at `/` of the admin listener: HTML, styles and scripts, embedded in the program. Scripts are loaded in the order of `index.html`; each
//! may use what the previous ones define.

use http::Response;
use stowage_http::body::Body;
use stowage_http::page;

/// Returns the page's file at a path, if there is one.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == path)?;
    Some(page::file(path, text))
}

/// The page's files.
const FILES: [(&str, &str); 19] = [
    ("/", include_str!("index.html")),
    ("/base.css", page::STYLE),
    ("/page.css", include_str!("page.css")),
    ("/console.css", include_str!("console.css")),
    ("/script/dom.js", page::DOM),
    ("/script/question.js", include_str!("script/question.js")),
    ("/script/metrics.js", include_str!("script/metrics.js")),
    ("/script/chart.js", include_str!("script/chart.js")),
    ("/script/operator.js", include_str!("script/operator.js")),
    ("/script/health.js", include_str!("script/health.js")),
    ("/script/queue.js", include_str!("script/queue.js")),
    ("/script/events.js", include_str!("script/events.js")),
    ("/script/runs.js", include_str!("script/runs.js")),
    ("/script/order.js", include_str!("script/order.js")),
    ("/script/fields.js", include_str!("script/fields.js")),
    ("/script/form.js", include_str!("script/form.js")),
    ("/script/plan.js", include_str!("script/plan.js")),
    ("/script/explain.js", include_str!("script/explain.js")),
    ("/script/page.js", include_str!("script/page.js")),
];
