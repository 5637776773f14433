"use strict";
// Charts of the last two minutes.
const POINTS = 60;
const charts = new Map();

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
