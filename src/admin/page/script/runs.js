"use strict";
// Migrations and verifications: those that run, with their bars, and the last that have ended.
const MOVES = { out: "out of CouchDB", back: "back into CouchDB", rehome: "to the storages that the plans name", adopt: "of KAZOO's pointers" };
const STATES = { running: "runs", stopping: "is stopping", done: "is done", stopped: "was stopped", failed: "failed" };
const followed = new Map();
const toldOf = new Map();
// Those that this page has watched, and not yet to their end.
const watched = new Set();
// How many have begun or ended here: a list that was on its way meanwhile does not know of it.
let turned = 0;

function title(run) {
  const { direction, dry_run: dry, read, orphans } = run.options;
  if (run.kind === "migration") return `Migration ${MOVES[direction ?? "out"]}${dry ? ", counted only" : ""}`;
  return `Verification${read ? " of every byte" : ""}${orphans ? " and orphans" : ""}`;
}

// From 0 to 1: databases that are done, and the looked-at part of those in work.
function part(run) {
  if (!run.databases.all) return 0;
  const inside = run.in_work.reduce((sum, each) => sum + Math.min(1, each.looked / Math.max(1, each.documents)), 0);
  return Math.min(1, (run.databases.done + inside) / run.databases.all);
}

function figures(run) {
  const { attachments, bytes, faults, looked } = run.total;
  const done = run.kind === "verification" ? "checked" : run.options.dry_run ? "to be moved" : "moved";
  const parts = [`${run.databases.done} of ${many(run.databases.all, "database")}`, many(looked, "document"), `${many(attachments, "attachment")} ${done} (${short(bytes)}B)`, many(faults, "fault")];
  if (run.removed.objects) parts.push(`${many(run.removed.objects, "object")} removed`);
  if (run.jobs) parts.push(`${many(run.jobs, "job")} made`);
  if (run.left) parts.push(`${many(run.left, "attachment")} left in place`);
  if (run.bytes_won) parts.push(`CouchDB's files are ${short(run.bytes_won)}B smaller`);
  return `${parts.join(", ")}; ${duration(run.seconds)}`;
}

function scopeOf({ all, accounts, databases, types, since, until }) {
  const where = [all ? "all databases" : "", ...(accounts ?? []).map((id) => `account ${id}`), ...(databases ?? [])].filter(Boolean).join(", ");
  return [where, types && `types ${types.join(", ")}`, since && `since ${since}`, until && `until ${until}`].filter(Boolean).join("; ");
}

function bar(label, value) {
  const made = element("progress");
  made.max = 1;
  made.value = value;
  made.setAttribute("aria-label", label);
  return made;
}

function card(id) {
  let made = document.querySelector(`[data-run="${CSS.escape(id)}"]`);
  if (made) return made;
  made = element("article", undefined, "run");
  made.dataset.run = id;
  const heading = element("h3");
  heading.id = `run-${id}`;
  heading.tabIndex = -1;
  made.setAttribute("aria-labelledby", heading.id);
  made.append(heading, element("p", "", "dim"), bar("All databases", 0), element("p", "", "figures"), element("ul", undefined, "parts"), element("div", undefined, "acts"));
  return made;
}

// Progress and end are shown in the same card.
function showRun(run) {
  const made = card(run.id);
  // An answer that was on its way when the run ended.
  if (run.ended === null && made.dataset.ended === "yes") return;
  made.dataset.kind = `${run.kind}s`;
  const [heading, scope, whole, line, parts, acts] = made.children;
  put(heading, `${title(run)} ${STATES[run.state]}`);
  put(scope, `${scopeOf(run.options)} (since ${plain(run.began)})`);
  const runs = run.ended === null;
  whole.hidden = !runs;
  whole.value = part(run);
  put(line, run.error ? `${run.error}` : figures(run));
  line.className = run.error || run.total.faults ? "figures ill" : "figures";
  const rows = (runs ? run.in_work : []).map((each) => {
    const row = element("li");
    row.append(bar(each.database, Math.min(1, each.looked / Math.max(1, each.documents))), element("span", `${each.database}: ${each.looked} of ${many(each.documents, "document")}`));
    return row;
  });
  if (parts.children.length || rows.length) parts.replaceChildren(...rows);
  if (runs && !acts.firstChild) acts.append(button("Stop", "stop", run.id, `Stop ${title(run)}`));
  if (runs) put(acts.firstChild, run.state === "stopping" ? "Stop at once" : "Stop");
  if (!runs && made.dataset.ended !== "yes") {
    made.dataset.ended = "yes";
    const focused = acts.contains(document.activeElement);
    acts.replaceChildren(button("Show the result", "result", run.id, `Show the result of ${title(run)}`));
    if (focused) acts.firstChild.focus();
  }
  if (!made.parentNode) by("runs").prepend(made);
  by("no-runs").hidden = true;
}

// For those who listen: not more often than each quarter.
function tell(text) {
  put(by("runs-told"), text);
}

function tellProgress(run) {
  const quarter = Math.floor(4 * part(run));
  if (quarter > (toldOf.get(run.id) ?? 0)) tell(`${title(run)}: ${25 * quarter} percent.`);
  toldOf.set(run.id, quarter);
}

function tellEnd(run) {
  if (!watched.delete(run.id)) return;
  tell(`${title(run)} ${STATES[run.state]}: ${run.error ?? figures(run)}.`);
  hasEnded(run);
}

// Watches a run to its end. A stream that breaks off is begun again by the next turn.
async function follow(run) {
  if (followed.has(run.id) || run.ended !== null) return;
  const stop = new AbortController();
  followed.set(run.id, stop);
  watched.add(run.id);
  try {
    await events(`/v2/storage/${run.kind}s/${run.id}/events`, stop.signal, (name, now) => {
      showRun(now);
      if (name === "end") {
        turned += 1;
        tellEnd(now);
      } else tellProgress(now);
    });
  } catch {
    // The next turn shows how it stands.
  }
  followed.delete(run.id);
}

async function runs() {
  const before = turned;
  const lists = await Promise.all(["migrations", "verifications"].map((kind) => call("GET", `/v2/storage/${kind}`)));
  if (before !== turned) return;
  const known = lists.flatMap((list) => (list.ok ? list.data : [])).sort((one, other) => (one.began < other.began ? -1 : 1));
  for (const run of known) {
    if (run.ended !== null) {
      // A stream whose connection died without a word never tells the end.
      followed.get(run.id)?.abort();
      tellEnd(run);
    }
    if (run.ended !== null || !followed.has(run.id)) showRun(run);
    follow(run);
  }
  const ids = new Set(known.map((run) => run.id));
  for (const made of [...by("runs").children]) {
    if (!ids.has(made.dataset.run) && !followed.has(made.dataset.run)) made.remove();
  }
  by("no-runs").hidden = by("runs").children.length > 0;
}

function results(run) {
  const box = element("div", undefined, "result");
  const table = (caption, titles, rows) => {
    const made = element("table");
    made.setAttribute("role", "table");
    const head = made.createTHead().insertRow();
    for (const each of titles) {
      const cell = element("th", each);
      cell.scope = "col";
      head.append(cell);
    }
    made.prepend(element("caption", caption));
    made.append(element("tbody"));
    fill(made, rows);
    box.append(made);
  };
  const { finished, faults, more } = run;
  table(`Databases${more.finished ? ` (and ${more.finished} more)` : ""}`, ["Database", "Documents", "Attachments", "Bytes", "Faults"],
    [...finished, { ...run.total, database: "all" }].map((each) => cells(each.database, [each.database, each.looked, each.attachments, `${short(each.bytes)}B`, each.faults])));
  if (run.deleted.length) box.append(element("p", `Deleted meanwhile: ${run.deleted.join(", ")}`));
  if (faults.length) {
    table(`Faults${more.faults ? ` (and ${more.faults} more)` : ""}`, ["Fault", "Where", "Reason"],
      faults.map((each, index) => cells(index, [each.kind, [each.database, each.document, each.attachment].filter(Boolean).join("/"), each.reason])));
  }
  return box;
}

by("runs").addEventListener("click", async ({ target }) => {
  const { act: what, key } = target.dataset;
  const made = target.closest("article");
  if (!what || !made) return;
  const old = made.querySelector(".result");
  if (old) return old.remove();
  try {
    const answer = await call(what === "stop" ? "DELETE" : "GET", `/v2/storage/${made.dataset.kind}/${key}`);
    if (!answer.ok) return tell(reason(answer));
    const run = answer.data;
    showRun(run);
    if (what === "result") made.append(results(run));
  } catch (error) {
    if (token) tell(`That did not work: ${error.message}`);
  }
});

function forgetRuns() {
  followed.forEach((stop) => stop.abort());
  watched.clear();
  by("runs").replaceChildren();
  by("no-runs").hidden = false;
  for (const id of ["runs-told", "run-errors"]) put(by(id), "");
  counted = "";
  orderChanged();
}
