"use strict";
// The scripts of the operator's page. They are one program, and are loaded in the order of `index.html`: each may use what the previous ones
// define. `dom.js`, before this one, is shared with the call store's page (`crates/http/src/page`).
//
// question, metrics, chart    tools: a question before what cannot be undone, Prometheus' text, charts
// operator                    the token, and what is shown with it
// health, queue               the storages and the queue of jobs
// events, runs, order         migrations and verifications: their progress, those that run, the form that starts one
// fields, form, plan          plans, as forms made of JSON Schemas
// explain                     what a plan says of an attachment
// page                        what needs no token, and the start of everything

// Asks before something that cannot be undone. Escape means no.
let answered = () => {};

function sure(question, yes) {
  const dialog = by("sure");
  // The event of a dialog that was closed comes with the next frame, which may be after the next question.
  answered(false);
  put(by("sure-question"), question);
  put(by("sure-yes"), yes);
  dialog.showModal();
  return new Promise((done) => { answered = done; });
}

by("sure").addEventListener("close", () => {
  if (!by("sure").open) answered(false);
});
for (const [id, value] of [["sure-yes", true], ["sure-no", false]]) {
  by(id).addEventListener("click", () => {
    by("sure").close();
    answered(value);
  });
}
