"use strict";
// Read from /status and /metrics, which need no token, and from what is below /v2/storage, which does. The token is in this variable alone.
const EVERY = 2000, POINTS = 60, PATIENCE = 10000;
const charts = new Map();
let before = null, token = "", asked = 0;

const by = (id) => document.getElementById(id);
const ask = (path, headers = {}) =>
  fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// What has not changed is left alone: it may be selected, or be read aloud.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Prometheus' text format: name{label="value",...} number, and perhaps a time.
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\s*\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s*|\s+)(\S+)(?:\s+-?\d+)?\s*$/;

function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = SAMPLE.exec(line);
    if (!match) continue;
    const labels = Object.create(null);
    for (const [, name, value] of (match[2] || "").matchAll(/(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    samples.push({ name: match[1], labels, value: Number(match[3].replace(/Inf$/, "Infinity")) });
  }
  return samples;
}

function sum(samples, name, wanted = () => true) {
  let total = 0;
  for (const sample of samples) {
    if (sample.name === name && Number.isFinite(sample.value) && wanted(sample.labels)) total += sample.value;
  }
  return total;
}

function short(number) {
  const steps = ["", "k", "M", "G", "T"];
  let step = 0;
  while (number >= 999.5 && step < steps.length - 1) { number /= 1000; step += 1; }
  const digits = number >= 99.95 || Number.isInteger(number) ? 0 : number >= 9.995 ? 1 : 2;
  return `${number.toFixed(digits)} ${steps[step]}`;
}

const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

const UNITS = {
  count: (number) => short(number).trim(),
  rate: (number) => `${short(number).trim()} /s`,
  bytes: (number) => `${short(number)}B/s`,
  time: (seconds) => (seconds < 0.9995 ? `${short(1000 * seconds)}ms` : `${short(seconds)}s`),
};

function drawing() {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", `0 0 ${POINTS - 1} 100`);
  made.setAttribute("preserveAspectRatio", "none");
  // The figures beside it say the same.
  made.setAttribute("aria-hidden", "true");
  made.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  return made;
}

// Adds a value to a chart, which is made when it is first needed. `null`: nothing could be measured.
function chart(parent, key, title, value, unit, className) {
  let entry = charts.get(key);
  if (!entry) {
    const figure = element("figure", undefined, className);
    const [caption, named] = [element("figcaption"), element("span", `${title} `)];
    entry = { values: [], shown: element("b"), most: element("small"), svg: drawing() };
    named.append(entry.shown);
    caption.append(named, entry.most);
    figure.append(caption, entry.svg);
    parent.append(figure);
    charts.set(key, entry);
  }
  entry.values.push(value ?? 0);
  if (entry.values.length > POINTS) entry.values.shift();
  const most = Math.max(...entry.values);
  put(entry.shown, value === null ? "–" : UNITS[unit](value));
  put(entry.most, most > 0 ? `most ${UNITS[unit](most)}` : "");
  const first = POINTS - entry.values.length;
  const points = entry.values.map((each, index) => `${first + index},${(98 - 94 * each / (most || 1)).toFixed(1)}`);
  entry.svg.firstChild.setAttribute("points", points.join(" "));
}

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

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
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

// Whatever a token has shown goes with it.
function forget(reason) {
  token = "";
  asked += 1;
  by("failures").hidden = true;
  by("failures").tBodies[0].replaceChildren();
  outages([], []);
  by("forget").hidden = true;
  put(by("failures-state"), reason);
}

function row(record) {
  const name = [record.db_name, record.document_id, record.attachment_name].join("/");
  return cells([plain(record.occurred_at), record.operation, record.handler_id, record.resp_code, record.message, name]);
}

const plain = (time) => String(time).replace("T", " ").replace(/\.\d+/, "");

function cells(texts) {
  const made = element("tr");
  for (const text of texts) made.append(element("td", text));
  return made;
}

// What has not changed is left alone.
function fill(table, rows) {
  const body = table.tBodies[0];
  const same = rows.length === body.rows.length && rows.every((each, index) => each.isEqualNode(body.rows[index]));
  if (!same) body.replaceChildren(...rows);
}

function outages(health, jobs) {
  fill(by("health"), health.map((one) => {
    const answers = one.down_since === null ? "yes" : `not since ${plain(one.down_since)}`;
    return cells([one.id, one.handler, one.in_flight, answers, one.reason ?? ""]);
  }));
  by("health-section").hidden = !health.length;
  fill(by("jobs"), jobs.map((job) => {
    const name = [job.database, job.document, job.attachment].join("/");
    return cells([plain(job.since), job.kind, job.storage, job.tries, job.error ?? "", name]);
  }));
  by("jobs-section").hidden = !jobs.length;
}

async function failures() {
  const mine = ++asked;
  // A header's characters are bytes.
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const head = { "X-Auth-Token": bytes };
  const answer = await ask("/v2/storage/failures", head);
  const records = answer.ok ? (await answer.json()).data : [];
  if (mine !== asked) return;
  if (answer.status >= 400 && answer.status < 500) return forget("This token may not see them.");
  if (!answer.ok) return put(by("failures-state"), `The gateway answered ${answer.status}.`);
  const table = by("failures");
  const rows = records.map(row);
  fill(table, rows);
  table.hidden = !rows.length;
  by("forget").hidden = false;
  const [health, jobs] = await Promise.all([ask("/v2/storage/health", head), ask("/v2/storage/jobs", head)]);
  const [standings, waiting] = [health.ok ? (await health.json()).data : [], jobs.ok ? (await jobs.json()).data.jobs : []];
  if (mine !== asked) return;
  outages(standings, waiting);
  put(by("failures-state"), rows.length ? "" : "Nothing has failed since the gateway was started.");
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
    if (token) await failures();
  } catch {
    told("the gateway does not answer", "lost");
  }
  setTimeout(turn, EVERY);
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = by("token").value.trim();
  by("token").value = "";
  forget("");
  token = given;
  if (token) failures().catch(() => forget("The failures cannot be read."));
});
by("forget").addEventListener("click", () => forget(""));
turn();
