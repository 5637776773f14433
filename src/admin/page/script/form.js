"use strict";
// A form made of a JSON Schema: members as fields, objects in folds that are filled when they are opened.

// The field of a value. `context`: { defs, path, required, isSecret(name, value), special(path) }.
function field(name, schema, value, context) {
  const special = context.special?.(context.path);
  if (special) return special(name, schema, value, context);
  const flatted = flat(schema, context.defs);
  if (has(flatted, "object") && !has(flatted, "string")) {
    if (flatted.properties) return fold(name, value, context, (inside) => members(flatted, inside, context));
    if (typeof flatted.additionalProperties === "object") return fold(name, value, context, (inside) => entries(flatted.additionalProperties, inside, context));
    return json(name, value, context);
  }
  return has(flatted, "array") || has(flatted, "object") ? json(name, value, context) : leaf(name, flatted, value, context);
}

// A fold with what is inside of an object; open where there is something, or has to be.
function fold(name, value, context, fill) {
  const box = element("details");
  box.append(element("summary", name));
  box.dataset.path = context.path.join("/");
  let [inside, first] = [null, ""];
  const open = () => {
    if (inside) return;
    inside = fill(value ?? {});
    first = JSON.stringify(inside.read());
    box.append(inside.node);
  };
  box.addEventListener("toggle", () => { if (box.open) open(); });
  if (context.required || (value !== undefined && value !== null && Object.keys(value).length)) {
    open();
    box.open = true;
  }
  const read = () => {
    if (!inside) return value;
    const now = inside.read();
    // What was not touched stays: a `null`, which undoes what an earlier plan says, is no empty object.
    if (value !== undefined && JSON.stringify(now) === first) return value;
    return Object.keys(now).length || context.required ? now : undefined;
  };
  return { node: box, read };
}

// The known members of an object; those that no schema knows stay as they are.
function members(schema, value, context) {
  const box = element("div", undefined, "members");
  const fields = Object.entries(schema.properties).map(([key, each]) => {
    const required = (schema.required ?? []).includes(key);
    return [key, field(key, each, value[key], { ...context, path: [...context.path, key], required })];
  });
  // What has to be given comes first; what need not be and is not stands in a fold of its own, where that is much.
  const order = ([key]) => (key === "name" ? 0 : (schema.required ?? []).includes(key) ? 1 : 2);
  const isSpare = ([key, each]) => order([key]) === 2 && value[key] === undefined && each.input;
  const more = element("details");
  more.append(element("summary", "more"));
  const isMuch = fields.filter(isSpare).length > 3;
  for (const each of [...fields].sort((one, other) => order(one) - order(other))) (isMuch && isSpare(each) ? more : box).append(each[1].node);
  if (isMuch) box.append(more);
  const read = () => {
    const now = { ...value };
    for (const [key, each] of fields) {
      const read = each.read();
      if (read === undefined) delete now[key];
      else now[key] = read;
    }
    return now;
  };
  return { node: box, read };
}

// An object with names of one's own: each entry can go, and there is a way to add one.
function entries(schema, value, context, { what = "entry", fresh, titled } = {}) {
  const box = element("div", undefined, "entries");
  const kept = new Map();
  const add = element("div", undefined, "acts");
  const show = (key, each, isNew) => {
    const made = field(titled?.(key, each) ?? key, schema, each, { ...context, path: [...context.path, key], required: true, isNew });
    const wrap = element("div", undefined, "entry");
    const remove = button(`Remove ${what}`, "remove", key, `Remove ${what} ${key}`);
    remove.addEventListener("click", () => {
      kept.delete(key);
      wrap.remove();
      add.querySelector("button").focus();
      box.dispatchEvent(new Event("change", { bubbles: true }));
    });
    wrap.append(made.node, remove);
    kept.set(key, made);
    add.before(wrap);
    return wrap;
  };
  const adding = button(`Add ${what}`, "add");
  box.append(add);
  let named = null;
  if (!fresh) {
    named = text();
    named.setAttribute("aria-label", `Name of the new ${what}`);
    add.append(named);
  }
  add.append(adding);
  adding.addEventListener("click", () => {
    const key = fresh ? fresh() : named.value.trim();
    if (!key || kept.has(key)) return named?.focus();
    const wrap = show(key, undefined, true);
    if (named) named.value = "";
    (wrap.querySelector("input, select, textarea") ?? wrap.querySelector("summary"))?.focus();
    box.dispatchEvent(new Event("change", { bubbles: true }));
  });
  for (const [key, each] of Object.entries(value)) show(key, each, false);
  const read = () => Object.fromEntries([...kept].map(([key, each]) => [key, each.read()]).filter(([, each]) => each !== undefined));
  return { node: box, read };
}

// Shows what is wrong at the fields, and gives what no field is there for. The first wrong field gets the focus.
function complain(form, wrongs) {
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    by(`${input.id}-wrong`).hidden = true;
  }
  const left = [];
  let first = null;
  for (const [path, message] of wrongs) {
    // What is wrong with a storage as a whole stands at its handler.
    const inputs = [path, [...path, "handler"]].map((each) => form.querySelector(`:is(input, select, textarea)[data-path="${CSS.escape(each.join("/"))}"]`));
    const input = inputs.find((each) => each);
    if (!input) {
      left.push(`${path.join(" ")}: ${message}`);
      continue;
    }
    for (let up = input.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
    input.setAttribute("aria-invalid", "true");
    const place = by(`${input.id}-wrong`);
    place.hidden = false;
    put(place, message);
    first ??= input;
  }
  first?.focus();
  return left;
}
