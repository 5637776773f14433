"use strict";
// The form that starts a migration or a verification. What changes something is counted first.
let counted = "";

const words = (text) => text.split(/[\s,]+/).filter(Boolean);
const number = (id) => (by(id).value === "" ? undefined : Number(by(id).value));

// Kind and options as the form has them; what is empty is left out.
function order() {
  const what = by("run-what").value;
  const [where] = [...document.getElementsByName("run-where")].filter((each) => each.checked).map((each) => each.value);
  const named = words(by("run-names").value);
  const types = words(by("run-types").value);
  const options = {
    all: where === "all" || undefined,
    accounts: where === "accounts" ? named : undefined,
    databases: where === "databases" ? named : undefined,
    types: types.length ? types : undefined,
    since: by("run-since").value || undefined,
    until: by("run-until").value || undefined,
    jobs: number("run-jobs"),
    rate: number("run-rate"),
  };
  if (what === "verify") {
    const orphans = by("run-orphans").checked || undefined;
    const older = orphans && (by("run-older").value.trim() || undefined);
    return { kind: "verifications", options: { ...options, read: by("run-read").checked || undefined, repair: by("run-repair").checked || undefined, orphans, older_than: older } };
  }
  return { kind: "migrations", options: { ...options, direction: what, compact: by("run-compact").checked || undefined } };
}

// The words by which a count is known to be of what is started afterwards: how fast it goes makes no difference.
const mark = ({ kind, options }) => JSON.stringify({ kind, ...options, jobs: undefined, rate: undefined, compact: undefined, repair: undefined });

function orderChanged() {
  const verifies = by("run-what").value === "verify";
  by("run-migrates").hidden = verifies;
  by("run-verifies").hidden = !verifies;
  by("run-count").hidden = verifies;
  by("run-older").disabled = by("run-remove").disabled = !by("run-orphans").checked;
  if (by("run-remove").disabled) by("run-remove").checked = false;
  const [where] = [...document.getElementsByName("run-where")].filter((each) => each.checked).map((each) => each.value);
  by("run-named").hidden = where === "all";
  put(by("run-names-label"), where === "accounts" ? "Ids of accounts" : "Names of databases, such as account/*-202611");
  const removes = verifies && by("run-remove").checked;
  const ready = (verifies && !removes) || counted === mark(order());
  by("run-start").disabled = !ready;
  put(by("run-hint"), ready ? "" : removes ? "Look for orphans with these options first, without removing them." : "Count with these options first: nothing is moved by that.");
}

async function begin(dry) {
  const { kind, options } = order();
  const removes = kind === "verifications" && by("run-remove").checked;
  put(by("run-errors"), "");
  if (dry) options.dry_run = true;
  if (removes) options.remove_orphans = true;
  if (removes && !(await sure("Remove what no document names? It cannot be brought back.", "Remove"))) return;
  try {
    const answer = await call("POST", `/v2/storage/${kind}`, options);
    if (!answer.ok) {
      put(by("run-errors"), answer.status === 409 ? `Another one runs, since ${plain(answer.data.run.began)}: see below.` : reason(answer));
      return;
    }
    tell(`${title(answer.data)} has begun.`);
    turned += 1;
    showRun(answer.data);
    follow(answer.data);
  } catch (error) {
    if (token) put(by("run-errors"), `That did not work: ${error.message}`);
  }
}

// A count, or a look for orphans, that came to its end opens what it was made for.
function hasEnded(run) {
  const { dry_run: dry, remove_orphans: removes, ...options } = run.options;
  if (run.state !== "done" || removes || (run.kind === "migration" && !dry)) return;
  counted = mark({ kind: `${run.kind}s`, options });
  orderChanged();
}

by("run-form").addEventListener("input", orderChanged);
by("run-form").addEventListener("change", orderChanged);
by("run-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!by("run-start").disabled) begin(false);
  else if (!by("run-count").hidden) begin(true);
});
by("run-count").addEventListener("click", () => begin(true));
orderChanged();
