"use strict";
// The storages in use: their breakers, what runs, and how much may still fail.
const BREAKERS = { closed: "answers", open: "does not answer", half_open: "is tried again" };

// Failures of the window against what opens the breaker: a bar and the same in words.
function budget({ window, breaker }) {
  const { seconds, requests, failures, opens_at: most } = window;
  const box = element("div", undefined, "budget");
  const words = `${failures} of ${many(requests, "request")} failed in ${seconds} s` + (most ? `, ${most} open the breaker` : "");
  if (most) {
    const meter = element("meter");
    // None is well, half of what opens the breaker is not.
    [meter.max, meter.low, meter.high, meter.optimum] = [most, 0.5, most / 2, 0];
    meter.value = breaker === "closed" ? Math.min(failures, most) : most;
    meter.setAttribute("aria-label", words);
    box.append(meter);
  }
  box.append(element("span", words));
  return box;
}

function standing(one) {
  const since = one.down_since === null ? "" : `not since ${plain(one.down_since)}`;
  const state = element("span", BREAKERS[one.breaker] ?? one.breaker, one.breaker === "closed" ? "well" : "ill");
  return cells(one.id, [one.id, one.handler, state, `${one.in_flight} of ${one.in_flight_limit}`, budget(one), since, one.reason ?? ""]);
}

async function health() {
  const answer = await call("GET", "/v2/storage/health");
  if (!answer.ok) return put(by("health-state"), `Storages cannot be read: ${reason(answer)}`);
  fill(by("health"), answer.data.map(standing));
  by("health").hidden = !answer.data.length;
  put(by("health-state"), answer.data.length ? "" : "None was used lately.");
}

function forgetHealth() {
  by("health").tBodies[0].replaceChildren();
  put(by("health-state"), "");
}
