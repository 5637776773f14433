// Uses a database with nano the way applications do: attachments by themselves, documents as multipart, stubs, bulk reads, deletion.
// Fails if anything is not what was written.
'use strict';

const assert = require('node:assert');
const nano = require('nano');

const url = new URL(process.argv[2]);
const database = nano(url.origin.replace('//', `//${url.username}:${url.password}@`)).use(decodeURIComponent(url.pathname.slice(1)));
const bytes = (length, seed) => Buffer.from(Array.from({ length }, (_, at) => (at * 37 + seed) & 255));
const refused = (status) => (error) => error.statusCode === status;

async function single() {
  let rev;
  const names = { 'call.mp3': bytes(0, 1), 'größe 1.mp3': bytes(1, 2), 'dir/sub.mp3': bytes(70000, 3) };
  for (const [name, data] of Object.entries(names)) {
    rev = (await database.attachment.insert('nano', name, data, 'audio/mpeg', rev ? { rev } : {})).rev;
  }
  for (const [name, data] of Object.entries(names)) {
    assert.deepStrictEqual(await database.attachment.get('nano', name), data, name);
  }
  await assert.rejects(database.attachment.insert('nano', 'call.mp3', bytes(3, 4), 'audio/mpeg'), refused(409));
  const document = await database.get('nano');
  assert.deepStrictEqual(Object.keys(document._attachments).sort(), Object.keys(names).sort());
  assert.strictEqual(document.pvt_attachments, undefined);
  delete document._attachments['call.mp3'];
  await database.insert({ ...document, kept: true });
  await assert.rejects(database.attachment.get('nano', 'call.mp3'), refused(404));
  assert.deepStrictEqual(await database.attachment.get('nano', 'dir/sub.mp3'), names['dir/sub.mp3']);
  const whole = await database.get('nano', { attachments: true });
  for (const [name, entry] of Object.entries(whole._attachments)) {
    assert.deepStrictEqual(Buffer.from(entry.data, 'base64'), names[name], name);
  }
}

async function multipart() {
  const attachments = ['a.mp3', 'b c.mp3'].map((name, at) => ({ name, data: bytes(5000 + at, 7), content_type: 'audio/mpeg' }));
  const saved = await database.multipart.insert({ n: 1 }, attachments, 'multi');
  for (const { name, data } of attachments) {
    assert.deepStrictEqual(await database.attachment.get('multi', name), data, name);
  }
  const removed = await database.attachment.destroy('multi', 'a.mp3', { rev: saved.rev });
  const document = await database.get('multi');
  assert.deepStrictEqual([document._rev, Object.keys(document._attachments)], [removed.rev, ['b c.mp3']]);
  await database.destroy('multi', removed.rev);
  await assert.rejects(database.attachment.get('multi', 'b c.mp3'), refused(404));
}

async function many() {
  const data = bytes(900, 9).toString('base64');
  const docs = ['one', 'two'].map((_id) => ({ _id, _attachments: { 'x.mp3': { content_type: 'audio/mpeg', data } } }));
  const saved = await database.bulk({ docs });
  assert.ok(saved.every((row) => row.rev), JSON.stringify(saved));
  const listed = await database.list({ include_docs: true, attachments: true, keys: ['one', 'two'] });
  for (const row of listed.rows) {
    assert.strictEqual(row.doc._attachments['x.mp3'].data, data, row.id);
  }
}

(async () => {
  await single();
  await multipart();
  await many();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
