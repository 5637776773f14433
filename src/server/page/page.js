"use strict";
// What the page shows is read from /status and /metrics, which need no token, and from /v2/storage/failures, which does.
const EVERY = 2000, POINTS = 60;
const series = new Map();
let before = null, token = "";

const by = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// One sample a line: name{label="value",...} number
function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const pair of (match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[pair[1]] = pair[2];
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

function sum(samples, name, wanted = () => true) {
  let total = 0;
  for (const sample of samples) if (sample.name === name && wanted(sample.labels)) total += sample.value;
  return total;
}

function short(number, unit = "") {
  const steps = ["", "k", "M", "G", "T"];
  let step = 0;
  while (number >= 1000 && step < steps.length - 1) { number /= 1000; step += 1; }
  const digits = number >= 100 || Number.isInteger(number) ? 0 : number >= 10 ? 1 : 2;
  return `${number.toFixed(digits)} ${steps[step]}${unit}`.trim();
}

function chart(parent, key, title, value, unit, className = "") {
  let entry = series.get(key);
  if (!entry) {
    const figure = element("figure", undefined, className);
    const caption = element("figcaption");
    const shown = element("b");
    caption.append(element("span", title), shown);
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("viewBox", `0 0 ${POINTS - 1} 100`);
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    drawing.append(line);
    figure.append(caption, drawing);
    parent.append(figure);
    entry = { values: [], shown, line };
    series.set(key, entry);
  }
  entry.values.push(value);
  if (entry.values.length > POINTS) entry.values.shift();
  entry.shown.textContent = short(value, unit);
  const most = Math.max(...entry.values, 1e-9);
  const first = POINTS - entry.values.length;
  const points = entry.values.map((each, index) => `${first + index},${(98 - 94 * each / most).toFixed(1)}`);
  entry.line.setAttribute("points", points.join(" "));
}

function storages(now, seconds) {
  const kinds = [...new Set(now.filter((sample) => sample.name === "stowage_backend_requests_total").map((sample) => sample.labels.backend))];
  const place = by("storages");
  if (kinds.length && place.querySelector(".none")) place.replaceChildren();
  for (const kind of kinds.sort()) {
    let box = place.querySelector(`[data-kind="${CSS.escape(kind)}"]`);
    if (!box) {
      box = element("div", undefined, "storage");
      box.dataset.kind = kind;
      box.append(element("h3", kind), element("div", undefined, "charts"));
      place.append(box);
    }
    const charts = box.querySelector(".charts");
    const of = (labels) => labels.backend === kind;
    const grown = (name, wanted = of) => Math.max(0, sum(now, name, wanted) - sum(before, name, wanted));
    const good = (labels) => labels.outcome === "ok" || labels.outcome === "missing";
    const done = grown("stowage_backend_seconds_count");
    chart(charts, `${kind} requests`, "requests", grown("stowage_backend_requests_total") / seconds, "/s");
    chart(charts, `${kind} errors`, "errors", grown("stowage_backend_requests_total", (labels) => of(labels) && !good(labels)) / seconds, "/s", "errors");
    chart(charts, `${kind} latency`, "latency", done ? 1000 * grown("stowage_backend_seconds_sum") / done : 0, "ms");
    chart(charts, `${kind} bytes`, "bytes", grown("stowage_attachment_bytes_total") / seconds, "B/s");
  }
}

function requests(now, seconds) {
  const place = by("requests");
  const grown = (name, wanted) => Math.max(0, sum(now, name, wanted) - sum(before, name, wanted));
  const done = grown("stowage_request_seconds_count");
  chart(place, "requests", "requests", grown("stowage_requests_total") / seconds, "/s");
  chart(place, "errors", "answers 5xx", grown("stowage_requests_total", (labels) => labels.status.startsWith("5")) / seconds, "/s", "errors");
  chart(place, "latency", "mean duration", done ? 1000 * grown("stowage_request_seconds_sum") / done : 0, "ms");
  chart(place, "in flight", "in flight", sum(now, "stowage_in_flight"), "");
}

function gateway(status) {
  const rows = [
    ["version", status.version],
    ["up for", duration(status.uptime_seconds)],
    ...status.listeners.map((listener) => [listener.name, listener.url]),
    ["CouchDB", status.upstream],
    ["plans held", `${status.plans.held}` + (status.plans.oldest_seconds === null ? "" : `, the oldest read ${duration(status.plans.oldest_seconds)} ago`)],
    ["storage API", status.storage_api ? "open to holders of a token" : "closed: no token is configured"],
  ];
  by("gateway").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

function told(text, className) {
  by("state").textContent = text;
  by("state").className = className;
}

async function failures() {
  const answer = await fetch("/v2/storage/failures", { headers: { "X-Auth-Token": token }, cache: "no-store" });
  const table = by("failures");
  if (!answer.ok) {
    table.hidden = true;
    by("failures-state").textContent = answer.status === 401 || answer.status === 403 ? "This token may not see them." : `The gateway answered ${answer.status}.`;
    token = "";
    return;
  }
  const records = (await answer.json()).data;
  by("failures-state").textContent = records.length ? "" : "Nothing has failed since the gateway was started.";
  table.hidden = !records.length;
  table.tBodies[0].replaceChildren(...records.map((record) => {
    const row = document.createElement("tr");
    const name = `${record.db_name}/${record.document_id}/${record.attachment_name}`;
    for (const text of [record.occurred_at, record.operation, record.handler_id, record.resp_code, record.message, name]) row.append(element("td", text));
    return row;
  }));
}

async function turn() {
  try {
    const [status, metrics] = await Promise.all([fetch("/status", { cache: "no-store" }), fetch("/metrics", { cache: "no-store" })]);
    if (!status.ok || !metrics.ok) throw new Error("refused");
    const [values, text] = [await status.json(), await metrics.text()];
    const now = parse(text);
    now.at = performance.now();
    gateway(values);
    if (before) {
      const seconds = (now.at - before.at) / 1000;
      requests(now, seconds);
      storages(now, seconds);
    }
    before = now;
    told(values.ready ? "ready" : "stopping", values.ready ? "ready" : "lost");
    if (token) await failures();
  } catch {
    told("the gateway does not answer", "lost");
  }
  setTimeout(turn, EVERY);
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value;
  by("token").value = "";
  failures().catch(() => told("the gateway does not answer", "lost"));
});
turn();
