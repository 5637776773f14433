"use strict";
// The plan of an account, or of the system, as a form made of the schemas that the gateway checks it against.
let schemas = null, plan = null;

const ID = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const planPath = (account) => (account ? `/v2/accounts/${encodeURIComponent(account)}/storage` : "/v2/storage");
// Longer than the check of the storages may take.
const CHECKS = 60000;

function isSecret(handler) {
  const named = ["secret", "password", ...(schemas.secrets[handler] ?? [])];
  return (name, value) => named.includes(name) || value === MASK;
}

// A storage: its handler decides which settings there are.
function storage(name, _, value, context) {
  const given = value ?? { handler: "", settings: {} };
  let inside = null;
  return fold(name, value, { ...context, required: true }, () => {
    const box = element("div", undefined, "members");
    const handler = choice(Object.keys(schemas.handlers).map((each) => [each, each]), given.handler || undefined);
    const [shown, rest] = [handler.value, element("div")];
    box.append(labelled("handler", handler, { path: [...context.path, "handler"], required: true }), rest);
    const show = () => {
      const known = schemas.handlers[handler.value];
      const kept = inside?.read() ?? given;
      // Secrets are one server's: they do not move to another kind.
      const settings = handler.value === given.handler ? given.settings : {};
      inside = known ? members(withoutHandler(flat(known, context.defs)), { ...kept, settings }, { ...context, isSecret: isSecret(handler.value), special: headers }) : null;
      rest.replaceChildren(...(inside ? [inside.node] : []));
    };
    handler.addEventListener("change", show);
    show();
    return { node: box, read: () => ({ ...(inside?.read() ?? given), handler: handler.value === shown ? given.handler : handler.value }) };
  });
}

function withoutHandler(schema) {
  const { handler, ...properties } = schema.properties;
  return { ...schema, properties };
}

// The values of headers may be credentials: all of them are masked.
const headers = (path) => path.at(-1) === "headers" && ((name, schema, value, context) =>
  fold(name, value, context, (inside) => entries({ type: "string" }, inside, { ...context, special: undefined, isSecret: () => true }, { what: "header" })));

// Storages of the form by id, for where the plan names one.
function storageChoices() {
  const found = plan?.storages?.() ?? {};
  return Object.entries(found).filter(([, each]) => each).map(([id, each]) => [id, `${each.name || each.handler || "new"} (${id.slice(0, 8)})`]);
}

function specials(path) {
  const [part, ...rest] = path;
  if (part === "attachments" && !rest.length) {
    return (name, _, value, context) => fold("storages (attachments)", value, { ...context, required: true }, (inside) =>
      entries({}, inside, { ...context, special: () => storage }, { what: "storage", fresh: ID, titled: (id, each) => (each?.name ? `${each.name} (${id})` : id) }));
  }
  if (part === "connections" && !rest.length) {
    return (name, _, value, context) => fold(name, value, context, (inside) =>
      entries(schemas.connection, inside, { ...context, special: undefined }, { what: "connection", fresh: ID }));
  }
  if (part === "plan" && path.at(-1) === "handler") {
    return (name, schema, value, context) => {
      const made = leaf(name, flat(schema, context.defs), value, { ...context, choices: storageChoices });
      // Storages come and go while the form is open.
      made.input.addEventListener("focus", () => {
        const now = made.input.value;
        made.input.replaceChildren(...choice(storageChoices(), now || undefined).children);
        made.input.value = now;
      });
      return made;
    };
  }
  return undefined;
}

function build(data) {
  const context = { defs: { ...schemas.defs, ...schemas.plan.$defs }, path: [], required: true, isSecret: isSecret(""), special: specials };
  const { id, ...own } = data ?? {};
  const { id: _, ...properties } = schemas.plan.properties;
  // The form is asked for its storages while it is being made.
  plan.storages = () => own.attachments ?? {};
  plan.form = members({ ...schemas.plan, properties }, own, context);
  plan.storages = () => plan.form.read().attachments ?? {};
  by("plan-fields").replaceChildren(plan.form.node);
  by("plan-fields").querySelector('[data-path="plan"]').open = true;
}

// What the form says; `null` where something in it cannot be, and while a request runs.
function readForm() {
  if (by("plan-form").inert) return null;
  try {
    const left = complain(by("plan-form"), []);
    put(by("plan-left"), left.join("\n"));
    return plan.form.read();
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    complain(by("plan-form"), [[error.path, error.message]]);
    tellPlan("Something in the form cannot be read.");
    return null;
  }
}

function tellPlan(text) {
  put(by("plan-told"), text);
}

function refusedPlan(answer) {
  const left = complain(by("plan-form"), sayings(answer.data));
  put(by("plan-left"), left.join("\n"));
  tellPlan(answer.status === 400 ? "Something is wrong: see the fields that are marked, and below." : `Not saved: ${reason(answer)}`);
}

// Asks while the form cannot be changed: what an answer brings would replace it. Gives nothing if another plan was opened meanwhile.
async function askForPlan(method, path, data, patience = CHECKS) {
  const [form, mine, focused] = [by("plan-form"), plan, document.activeElement];
  form.inert = true;
  try {
    const answer = await call(method, path, data, patience);
    return plan === mine ? answer : undefined;
  } catch (error) {
    if (plan === mine) throw error;
  } finally {
    if (plan === mine) {
      form.inert = false;
      if (form.contains(focused)) focused.focus();
    }
  }
}

async function openPlan(account) {
  const mine = plan = { account, revision: null };
  by("plan-form").hidden = true;
  by("plan-form").inert = false;
  schemas ??= (await call("GET", "/v2/storage/schema")).data;
  const answer = await call("GET", planPath(account));
  // Another one was opened meanwhile.
  if (plan !== mine) return;
  if (!answer.ok && answer.status !== 404) return tellPlan(`The plan cannot be read: ${reason(answer)}`);
  if (!answer.ok && !account.match(/^[0-9a-f]{32}$/) && account) return tellPlan("An account's id has 32 hexadecimal digits.");
  if (answer.ok) plan.revision = answer.revision;
  build(answer.ok ? answer.data : {});
  put(by("plan-left"), "");
  by("plan-form").hidden = false;
  tellPlan(answer.ok ? `The plan of ${account || "the system"}, revision ${plan.revision}.` : `There is no plan of ${account || "the system"} yet: this makes one.`);
}

async function testPlan() {
  const data = readForm();
  if (!data) return;
  tellPlan("The storages are being tried.");
  const answer = await askForPlan("POST", `${planPath(plan.account)}/check`, data);
  if (!answer) return;
  if (!answer.ok) return refusedPlan(answer);
  tellPlan("It works: a file went to every storage, came back, and was removed. Nothing was saved.");
}

async function savePlan() {
  const data = readForm();
  if (!data) return;
  tellPlan("The storages are being tried.");
  const { account, revision } = plan;
  if (revision) {
    // The API replaces whatever is there: another's change must not go with it.
    const now = await askForPlan("GET", planPath(account), undefined, PATIENCE);
    if (!now) return;
    if (now.ok && now.revision !== revision) return tellPlan("Somebody else has changed the plan meanwhile: open it again.");
  }
  const answer = await askForPlan(revision ? "POST" : "PUT", planPath(account), data);
  if (!answer) return;
  if (!answer.ok) return refusedPlan(answer);
  plan.revision = answer.revision;
  build(answer.data);
  tellPlan(`Saved as revision ${answer.revision}. It is used from now on.`);
}

const planning = (work) => async (event) => {
  event.preventDefault();
  try {
    await work();
  } catch (error) {
    if (token) tellPlan(`That did not work: ${error.message}`);
  }
};

by("plan-open").addEventListener("submit", planning(() => openPlan(by("plan-account").value.trim())));
by("plan-form").addEventListener("submit", planning(savePlan));
by("plan-test").addEventListener("click", planning(testPlan));

function forgetPlan() {
  plan = null;
  by("plan-fields").replaceChildren();
  by("plan-form").hidden = true;
  by("plan-form").inert = false;
  by("plan-account").value = "";
  for (const id of ["plan-told", "plan-left"]) put(by(id), "");
}
