"use strict";
// What needs no token: /status and /metrics, every two seconds.
const EVERY = 2000, PATIENCE = 10000;
let before = null;

const ask = (path, headers = {}) =>
  fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });

const grown = (now, name, wanted) => Math.max(0, sum(now, name, wanted) - sum(before, name, wanted));

function mean(now, name, wanted) {
  const count = grown(now, `${name}_count`, wanted);
  return count ? grown(now, `${name}_sum`, wanted) / count : null;
}

function requests(now, seconds) {
  const place = by("requests");
  const failed = (labels) => /^5/.test(labels.status);
  chart(place, "requests", "requests", grown(now, "stowage_requests_total") / seconds, "rate");
  chart(place, "errors", "answers 5xx", grown(now, "stowage_requests_total", failed) / seconds, "rate", "errors");
  chart(place, "latency", "duration", mean(now, "stowage_request_seconds"), "time");
  chart(place, "in flight", "in flight", sum(now, "stowage_in_flight"), "count");
}

// The outcomes that are the storage's doing, not the client's.
const isError = (labels) => ["missing", "passing", "refused"].includes(labels.outcome);

function storages(now, seconds) {
  const used = (sample) => sample.name === "stowage_backend_requests_total" && sample.value > 0;
  const kinds = new Set(now.filter(used).map((sample) => sample.labels.backend));
  for (const kind of [...kinds].sort()) {
    let box = document.querySelector(`[data-kind="${CSS.escape(kind)}"]`);
    if (!box) {
      box = element("div", undefined, "storage");
      box.dataset.kind = kind;
      box.append(element("h3", kind), element("p", "", "total"), element("div", undefined, "charts"));
      by("storages").append(box);
      by("unused").hidden = true;
    }
    const [, total, place] = box.children;
    const of = (labels) => labels.backend === kind;
    const wrong = (labels) => of(labels) && isError(labels);
    const [all, errors] = [of, wrong].map((wanted) => sum(now, "stowage_backend_requests_total", wanted));
    put(total, `${many(all, "request")} since the start, ${many(errors, "error")}`);
    chart(place, `${kind} requests`, "requests", grown(now, "stowage_backend_requests_total", of) / seconds, "rate");
    chart(place, `${kind} errors`, "errors", grown(now, "stowage_backend_requests_total", wrong) / seconds, "rate", "errors");
    chart(place, `${kind} latency`, "latency", mean(now, "stowage_backend_seconds", of), "time");
    chart(place, `${kind} bytes`, "bytes", grown(now, "stowage_attachment_bytes_total", of) / seconds, "bytes");
  }
}

// The queue of all gateways, as this one has last seen it.
function waiting(now) {
  const kinds = { move: "to be moved out of CouchDB", copy: "copies to be made", remove: "objects to be removed" };
  const counts = Object.entries(kinds).map(([kind, text]) => [sum(now, "stowage_jobs", (labels) => labels.kind === kind), text]);
  const there = counts.filter(([count]) => count > 0).map(([count, text]) => `${short(count).trim()} ${text}`);
  if (!there.length) return "none";
  const stuck = sum(now, "stowage_jobs_stuck");
  const oldest = duration(sum(now, "stowage_jobs_oldest_seconds"));
  return `${there.join(", ")}; the oldest for ${oldest}` + (stuck ? `, ${short(stuck).trim()} stuck` : "");
}

function gateway(status, now) {
  const { held, oldest_seconds: oldest } = status.plans;
  const { open, down } = status.storages;
  const failed = sum(now, "stowage_couchdb_failures_total");
  const rows = [
    ["version", status.version],
    ["up for", duration(status.uptime_seconds)],
    ...status.listeners.map((listener) => [`${listener.name} listener`, listener.url]),
    ["CouchDB", status.upstream + (failed ? `, ${many(failed, "request")} failed because of it` : "")],
    ["plans held", `${held}` + (oldest === null ? "" : `, the oldest read ${duration(oldest)} ago`)],
    ["changed plans", sum(now, "stowage_plan_feed_up") ? "are used at once" : "are seen late: there is no changes feed"],
    ["storages in use", `${open}` + (down ? `, ${down} of them ${down === 1 ? "does" : "do"} not answer: CouchDB keeps what is meant for ${down === 1 ? "it" : "them"}` : "")],
    ["jobs that wait", waiting(now)],
    ["storage API", status.storage_api ? "open to holders of a token" : "closed: no token is configured"],
  ].flat();
  const list = by("gateway");
  rows.forEach((text, index) => put(list.children[index] ?? list.appendChild(element(index % 2 ? "dd" : "dt")), text));
  while (list.children.length > rows.length) list.lastChild.remove();
  by("token-form").hidden = !status.storage_api;
  by("closed").hidden = status.storage_api;
}

function told(text, className) {
  put(by("state"), text);
  by("state").className = className;
}

async function turn() {
  try {
    const [status, metrics] = await Promise.all([ask("/status"), ask("/metrics")]);
    if (!status.ok || !metrics.ok) throw new Error("refused");
    const [values, now] = [await status.json(), parse(await metrics.text())];
    now.at = performance.now();
    gateway(values, now);
    if (before) {
      const seconds = (now.at - before.at) / 1000;
      requests(now, seconds);
      storages(now, seconds);
    }
    before = now;
    told(values.ready ? "ready" : "stopping", values.ready ? "ready" : "lost");
    if (token) operated();
  } catch {
    told("the gateway does not answer", "lost");
  }
  setTimeout(turn, EVERY);
}

turn();
