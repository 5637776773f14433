"use strict";
// What the plan says of an attachment.
const EXPLAINED = ["refused", "backend", "handler", "connection", "object", "url", "stub", "on_delete", "class", "account", "sources"];

async function explain() {
  const given = { db: by("explain-db").value.trim(), doc: by("explain-doc").value.trim(), type: by("explain-type").value.trim(), attachment: by("explain-attachment").value.trim() };
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
  const answer = await call("GET", `/v2/storage/explain?${query}`);
  by("explained").replaceChildren();
  if (!answer.ok) return put(by("explain-told"), reason(answer));
  const { data } = answer;
  put(by("explain-told"), data.refused ? `Refused: ${data.refused}` : data.backend ? `It goes to storage ${data.backend}.` : "CouchDB keeps it.");
  for (const key of EXPLAINED) {
    if (data[key] === null || data[key] === undefined) continue;
    by("explained").append(element("dt", key), element("dd", Array.isArray(data[key]) ? data[key].join(", ") : String(data[key])));
  }
}

by("explain-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await explain();
  } catch (error) {
    if (token) put(by("explain-told"), `That did not work: ${error.message}`);
  }
});

function forgetExplain() {
  by("explained").replaceChildren();
  put(by("explain-told"), "");
  by("explain-form").reset();
}
