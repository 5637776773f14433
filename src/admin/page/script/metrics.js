"use strict";
// Metrics as Prometheus reads them.
// Prometheus' text format: name{label="value",...} number, and perhaps a time.
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\s*\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}\s*|\s+)(\S+)(?:\s+-?\d+)?\s*$/;

function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = SAMPLE.exec(line);
    if (!match) continue;
    const labels = Object.create(null);
    for (const [, name, value] of (match[2] || "").matchAll(/(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    samples.push({ name: match[1], labels, value: Number(match[3].replace(/Inf$/, "Infinity")) });
  }
  return samples;
}

function sum(samples, name, wanted = () => true) {
  let total = 0;
  for (const sample of samples) {
    if (sample.name === name && Number.isFinite(sample.value) && wanted(sample.labels)) total += sample.value;
  }
  return total;
}
