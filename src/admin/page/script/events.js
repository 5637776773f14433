"use strict";
// Server-sent events over fetch: EventSource cannot send a token.

// Calls `told` with the name and the data of each event, to the end of the stream.
async function events(path, signal, told) {
  const answer = await fetch(path, { headers: authorization(), cache: "no-store", credentials: "omit", redirect: "error", signal });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      told(field("event"), JSON.parse(field("data")));
    }
  }
}
