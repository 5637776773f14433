"use strict";
// What needs an operator's token. It is in this variable alone, and goes with all that it has shown.
let token = "", asked = 0;

// A header's characters are bytes.
const authorization = () => ({ "X-Auth-Token": String.fromCharCode(...new TextEncoder().encode(token)) });

// Asks the API: { status, ok, data, revision }. A token that may not is forgotten.
async function call(method, path, data, patience = PATIENCE) {
  const mine = asked;
  const options = { method, headers: authorization(), cache: "no-store", credentials: "omit", redirect: "error" };
  if (data !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify({ data });
  }
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(patience) });
  // What is no sound request is refused by the server itself, in other words.
  const body = await answer.json().catch(() => ({}));
  // What comes after the token was forgotten is nobody's.
  if (mine !== asked) throw new Error("forgotten");
  if (answer.status === 401 || answer.status === 403) {
    forget("This token may not see them.");
    throw new Error("refused");
  }
  return { status: answer.status, ok: answer.ok, data: body.data, revision: body.revision };
}

// What an answer says that is no success.
function reason(answer) {
  const said = answer.data?.message ?? sayings(answer.data).map(([path, text]) => `${path.join(" ")}: ${text}`).join("; ");
  return said || `the gateway answered ${answer.status}`;
}

// Every error of an answer, with the path of its field: what nests by field ends in rules, which have a message.
function sayings(data, path = []) {
  return Object.entries(data ?? {}).flatMap(([key, value]) => {
    if (typeof value !== "object" || value === null) return [];
    if (typeof value.message !== "string") return sayings(value, [...path, key]);
    const said = value.error_body === undefined ? "" : ` (${value.error_code}) ${typeof value.error_body === "string" ? value.error_body : JSON.stringify(value.error_body)}`;
    return [[path, value.message + said]];
  });
}

// What is shown to the operator alone.
const OPERATED = ["health-section", "queue-section", "runs-section", "plan-section", "explain-section"];

function forget(reason) {
  token = "";
  asked += 1;
  by("failures").hidden = true;
  by("failures").tBodies[0].replaceChildren();
  for (const id of OPERATED) by(id).hidden = true;
  for (const forgetting of [forgetHealth, forgetQueue, forgetRuns, forgetPlan, forgetExplain]) forgetting();
  by("forget").hidden = true;
  put(by("failures-state"), reason);
}

function failure(record) {
  const name = [record.db_name, record.document_id, record.attachment_name].join("/");
  return cells(`${record.id} ${record.occurred_at} ${name}`, [plain(record.occurred_at), record.operation, record.handler_id, record.resp_code, record.message, name]);
}

async function failures() {
  const answer = await call("GET", "/v2/storage/failures");
  if (answer.status === 400) return forget("This token may not see them.");
  if (!answer.ok) return put(by("failures-state"), `The gateway answered ${answer.status}.`);
  const rows = answer.data.map(failure);
  fill(by("failures"), rows);
  by("failures").hidden = !rows.length;
  by("forget").hidden = false;
  for (const id of OPERATED) by(id).hidden = false;
  put(by("failures-state"), rows.length ? "" : "Nothing has failed since the gateway was started.");
}

// The sections that are being read.
const reading = new Map();

// Reads a section, and gives whether it could be. One that waits for its answer is not asked for again, and holds up no other.
async function section(read, state, what) {
  const mine = asked;
  if (reading.get(read) === mine) return false;
  reading.set(read, mine);
  try {
    await read();
    return true;
  } catch (error) {
    if (state && token && error.message !== "forgotten") put(by(state), `${what} cannot be read.`);
    return false;
  } finally {
    if (reading.get(read) === mine) reading.delete(read);
  }
}

// One turn: the token is tried with the failures first.
async function operated() {
  if (!(await section(failures, "failures-state", "The failures")) || !token) return;
  section(health, "health-state", "The storages");
  section(queue, "queue-state", "The queue");
  section(runs);
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = by("token").value.trim();
  by("token").value = "";
  forget("");
  token = given;
  if (token) operated();
});
by("forget").addEventListener("click", () => {
  forget("");
  by("token").focus();
});
