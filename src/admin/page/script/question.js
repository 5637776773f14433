"use strict";
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
