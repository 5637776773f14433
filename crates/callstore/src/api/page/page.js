"use strict";
// Reads every two seconds. The token is in this variable alone, and goes with the tab.
const EVERY = 2000;
const PATIENCE = 10000;
let token = "", shown = "", turns = 0, timer;

// Answers the JSON of a path, and undefined where there is nothing.
async function ask(path) {
  // A header's characters are bytes.
  const headers = token ? { "X-Auth-Token": String.fromCharCode(...new TextEncoder().encode(token)) } : {};
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 404) return undefined;
  if (answer.status === 401) throw new Error("a token is needed");
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function readMetrics() {
  const text = await (await fetch("metrics", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) })).text();
  return new Map(text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.replace(/\{group="\d+"\}/, "").split(" ")));
}

const time = (text) => (text ? plain(text) : "–");
const known = (text) => text ?? "–";

function showInstance(groups, metrics) {
  const value = (name) => metrics.get(`callstore_${name}`);
  const list = [
    ["Instance", groups.instance || "the only one"],
    ["Acts", groups.is_active ? `yes, epoch ${groups.epoch}` : "no: it is ready to take over"],
    ["Groups", groups.groups.map((group) => `${group.group}: ${(group.domains || []).join(", ") || "all other domains"}`).join("; ") || "none"],
    ["Behind the journal", `${value("lag_entries")} entries`],
    ["Records that wait", value("records_waiting")],
  ];
  const made = by("instance");
  if (!made.children.length) list.forEach(() => made.append(element("dt"), element("dd")));
  list.flat().forEach((text, index) => put(made.children[index], String(text)));
}

function nodeRow(node) {
  return cells(node.name, [node.name, node.legs, element("span", node.suspect, node.suspect ? "suspect" : ""), time(node.last_event), time(node.last_answer)]);
}

function dialogRow(dialog) {
  const story = button("Story", "story", dialog.id, `Story of the dialog ${dialog.id}`);
  return cells(dialog.id, [element("span", dialog.state, dialog.state), known(dialog.from), known(dialog.to), known(dialog.domain), known(dialog.node), time(dialog.answered || dialog.created), story]);
}

function showStory(dialog) {
  const lines = dialog ? [dialog, ...dialog.legs].flatMap((item) => item.story).sort((one, other) => (one.time < other.time ? -1 : 1)) : [];
  by("story-card").hidden = false;
  put(by("story-title"), `Story of ${shown} (${dialog ? dialog.state : "not kept any more"})`);
  fill(by("story"), lines.map((line, index) => cells(`${index} ${line.time}`, [line.time, line.event, known(line.note)])));
}

async function look(isNewest) {
  const query = new URLSearchParams({ limit: "200" });
  for (const [name, id] of [["state", "which"], ["number", "number"], ["domain", "domain"]]) {
    if (by(id).value) query.set(name, by(id).value);
  }
  const story = shown ? ask(`v1/dialogs/${encodeURIComponent(shown)}`) : undefined;
  const [metrics, groups, nodes, dialogs, dialog] = await Promise.all([readMetrics(), ask("v1/groups"), ask("v1/nodes"), ask(`v1/dialogs?${query}`), story]);
  if (!isNewest()) return;
  showInstance(groups, metrics);
  fill(by("nodes"), nodes.nodes.map(nodeRow));
  fill(by("dialogs"), dialogs.dialogs.map(dialogRow));
  put(by("more"), dialogs.next ? "There are more: narrow it down." : dialogs.dialogs.length ? "" : "There are none.");
  if (shown) showStory(dialog);
  const ready = metrics.get("callstore_ready") === "1";
  told(ready ? "ready" : "reading the journal", ready ? "ready" : "");
}

function told(text, className) {
  put(by("state"), text);
  by("state").className = className;
}

// Looks now, and again and again. A turn that was overtaken by a later one shows nothing.
async function turn() {
  const mine = turns += 1;
  const isNewest = () => mine === turns;
  clearTimeout(timer);
  try {
    await look(isNewest);
  } catch (error) {
    if (isNewest()) told(error instanceof TypeError || error.name === "TimeoutError" ? "the call store does not answer" : error.message, "lost");
  }
  if (isNewest()) timer = setTimeout(turn, EVERY);
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value.trim();
  by("token").value = "";
  turn();
});
by("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  turn();
});
by("dialogs").addEventListener("click", async ({ target }) => {
  if (target.dataset.act !== "story") return;
  shown = target.dataset.key;
  await turn();
  by("story-title").focus();
});
turn();
