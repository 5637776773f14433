"use strict";
// The queue of jobs: how many of each kind, the first hundred, tried again or dropped.
const KINDS = { move: "out of CouchDB", copy: "copies", remove: "removals of objects" };
// The queue of all gateways is read for it: not at every turn.
const QUEUE_EVERY = 10000;
let queueRead = -QUEUE_EVERY, queueReads = 0;

const about = (job) => [job.database, job.document, job.attachment].join("/");

function kindRow(kind) {
  const { oldest } = kind;
  const age = oldest ? `for ${duration((Date.now() - Date.parse(oldest.since)) / 1000)}: ${about(oldest)}` : "";
  return cells(kind.kind, [KINDS[kind.kind] ?? kind.kind, kind.jobs, kind.in_work, kind.stuck, age]);
}

function jobRow(job) {
  const acts = element("div", undefined, "acts");
  acts.append(button("Retry", "retry", job._id, `Retry ${about(job)}`), button("Drop", "drop", job._id, `Drop ${about(job)}`));
  return cells(job._id, [plain(job.since), job.kind, job.storage, job.tries, job.error ?? "", about(job), acts]);
}

async function queue(now = performance.now()) {
  if (now - queueRead < QUEUE_EVERY) return;
  queueRead = now;
  const mine = ++queueReads;
  const [waiting, page] = await Promise.all([call("GET", "/v2/storage/queue"), call("GET", "/v2/storage/jobs")]);
  // A later reading knows more.
  if (mine !== queueReads) return;
  if (!waiting.ok || !page.ok) {
    put(by("queue-state"), `The queue cannot be read: ${reason(waiting.ok ? page : waiting)}`);
    return;
  }
  fill(by("kinds"), waiting.data.kinds.map(kindRow));
  const { jobs, next_start_key: next } = page.data;
  fill(by("jobs"), jobs.map(jobRow));
  by("jobs-section").hidden = !jobs.length;
  const more = next === null ? "" : "The first hundred are shown. ";
  put(by("queue-state"), jobs.length ? more + (waiting.data.is_whole ? "" : "More than 5,000 jobs wait: not all were counted.") : "Nothing waits.");
}

// Does something with a job, or with all of them, a hundred at a time.
async function act(method, id) {
  if (id) {
    const answer = await call(method, `/v2/storage/jobs/${encodeURIComponent(id)}`);
    if (!answer.ok && answer.status !== 404) throw new Error(reason(answer));
    return 1;
  }
  let [count, from] = [0, ""];
  while (from !== null) {
    const answer = await call(method, `/v2/storage/jobs?all=true&start_key=${encodeURIComponent(from)}`);
    if (!answer.ok) throw new Error(reason(answer));
    count += answer.data.count;
    from = answer.data.next_start_key;
  }
  return count;
}

by("queue-section").addEventListener("click", async ({ target }) => {
  const { act: what, key } = target.dataset;
  if (what !== "retry" && what !== "drop") return;
  const drops = what === "drop";
  const question = key ? "Drop this job? What it is about stays as it is." : "Drop all jobs? What they are about stays as it is.";
  if (drops && !(await sure(question, "Drop"))) return;
  try {
    const count = await act(drops ? "DELETE" : "POST", key);
    put(by("queue-told"), `${many(count, "job")} ${drops ? "dropped" : count === 1 ? "is tried" : "are tried"}.`);
    queueRead = -QUEUE_EVERY;
    await queue();
  } catch (error) {
    if (token) put(by("queue-told"), `That did not work: ${error.message}`);
  }
});

function forgetQueue() {
  queueRead = -QUEUE_EVERY;
  for (const id of ["kinds", "jobs"]) by(id).tBodies[0].replaceChildren();
  by("jobs-section").hidden = true;
  for (const id of ["queue-state", "queue-told"]) put(by(id), "");
}
