"use strict";
// Fields of a form for values of a JSON Schema. Each is { node, read(), leaves }: `read` gives undefined for nothing, and what was
// not touched as it came. `leaves` are the inputs by their paths, for what an answer says is wrong.
const MASK = "********";
let fieldCount = 0;

// A schema with what its $ref and allOf say.
function flat(schema, defs) {
  const named = schema.$ref ? [flat(defs[schema.$ref.split("/").pop()] ?? {}, defs)] : [];
  const made = {};
  for (const each of [...named, ...(schema.allOf ?? []).map((part) => flat(part, defs)), schema]) {
    const { properties, required, $ref, allOf, ...rest } = each;
    Object.assign(made, rest);
    if (required) made.required = [...(made.required ?? []), ...required];
    for (const [key, value] of Object.entries(properties ?? {})) {
      made.properties ??= {};
      made.properties[key] = key in made.properties ? { allOf: [made.properties[key], value] } : value;
    }
  }
  return made;
}

const has = (schema, type) => [schema.type].flat().includes(type);

// A label, an input, and a place for what is wrong with it.
function labelled(name, input, { path, required }) {
  const [box, label, wrong] = [element("div", undefined, "field"), element("label", name + (required ? " (required)" : "")), element("p", "", "wrong")];
  fieldCount += 1;
  input.id = `field-${fieldCount}`;
  label.htmlFor = input.id;
  wrong.id = `${input.id}-wrong`;
  wrong.hidden = true;
  input.setAttribute("aria-describedby", wrong.id);
  if (required) input.setAttribute("aria-required", "true");
  input.dataset.path = path.join("/");
  box.append(label, input, wrong);
  return box;
}

function text(value, secret) {
  const made = element("input");
  made.type = secret ? "password" : "text";
  made.autocomplete = secret ? "new-password" : "off";
  made.spellcheck = false;
  if (secret && value !== undefined) made.placeholder = "unchanged";
  if (!secret && value !== undefined) made.value = String(value);
  return made;
}

function choice(options, value) {
  const made = element("select");
  const known = options.map(([each]) => each);
  const unknown = value === undefined || known.includes(String(value)) ? [] : [[String(value), String(value)]];
  for (const [each, said] of [["", "–"], ...options, ...unknown]) {
    const option = element("option", said);
    option.value = each;
    made.append(option);
  }
  made.value = value === undefined ? "" : String(value);
  return made;
}

// One value. What is shown as it came is given back as it came, whatever its type: `null` undoes what an earlier plan says.
function leaf(name, schema, value, context) {
  const secret = context.isSecret(name, value);
  const flag = has(schema, "boolean");
  const given = value === null ? undefined : value;
  let input;
  if (context.choices) input = choice(context.choices(), given);
  else if (schema.enum) input = choice(schema.enum.map((each) => [each, each]), given);
  else if (flag) input = choice([["true", "yes"], ["false", "no"]], given);
  else input = text(given, secret);
  if (has(schema, "integer")) input.inputMode = "numeric";
  const shown = input.value;
  const read = () => {
    const now = input.value;
    if (now === shown) return value;
    if (now === "") return undefined;
    if (flag) return now === "true";
    return has(schema, "integer") && /^\d+$/.test(now) ? Number(now) : now;
  };
  return { node: labelled(name, input, context), read, input };
}

// Lists and whatever is too free for fields: as JSON.
function json(name, value, context) {
  const input = element("textarea");
  input.rows = 2;
  input.spellcheck = false;
  input.value = value === undefined ? "" : JSON.stringify(value);
  const box = labelled(`${name} (JSON)`, input, context);
  const read = () => {
    if (!input.value.trim()) return undefined;
    try {
      return JSON.parse(input.value);
    } catch {
      throw new Wrong(context.path, "This is no JSON");
    }
  };
  return { node: box, read, input };
}

// What is wrong before anything is sent.
class Wrong extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}
