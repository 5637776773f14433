"use strict";
// What every page uses: elements, texts, tables.
const by = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function button(text, act, key, name) {
  const made = element("button", text);
  made.type = "button";
  made.dataset.act = act;
  if (key !== undefined) made.dataset.key = key;
  // Many rows have one that says the same.
  if (name) made.setAttribute("aria-label", name);
  return made;
}

// What has not changed is left alone: it may be selected, or be read aloud.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
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

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

const plain = (time) => String(time).replace("T", " ").replace(/\.\d+/, "");

// A row; what is no element is its text. The key tells it from other rows when it changes.
function cells(key, parts) {
  const made = element("tr");
  made.dataset.key = key;
  made.setAttribute("role", "row");
  for (const part of parts) {
    const cell = element("td");
    cell.setAttribute("role", "cell");
    cell.append(part instanceof Node ? part : String(part));
    // Words stay whole; ids and names break anywhere.
    if (cell.textContent.length < 20) cell.className = "brief";
    made.append(cell);
  }
  return made;
}

// What has not changed stays the same node, and the focus stays where it was.
function fill(table, rows) {
  const body = table.tBodies[0];
  const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  for (const row of rows) [...row.cells].forEach((cell, index) => { cell.dataset.title = titles[index]; });
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = rows.map((row) => (known.get(row.dataset.key)?.isEqualNode(row) ? known.get(row.dataset.key) : row));
  if (wanted.length === body.rows.length && wanted.every((row, index) => row === body.rows[index])) return;
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...wanted);
  if (!focused) return;
  const { act, key } = focused.dataset;
  const same = [...body.querySelectorAll("button")].find((each) => each.dataset.act === act && each.dataset.key === key);
  (same ?? table.closest("section").querySelector("h2")).focus();
}
