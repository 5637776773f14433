// Replicates with PouchDB from the first URL to the second, and through its own database in memory where a third argument says so.
// Prints what was written, refused and failed, as JSON.
'use strict';

const PouchDB = require('pouchdb-core')
  .plugin(require('pouchdb-adapter-http'))
  .plugin(require('pouchdb-adapter-memory'))
  .plugin(require('pouchdb-replication'));

const [source, target, way] = process.argv.slice(2);
const remote = (url) => new PouchDB(url, { skip_setup: true });

async function main() {
  const told = { written: 0, failed: 0, errors: [] };
  const replicate = async (from, to) => {
    const done = await from.replicate.to(to, { batch_size: 7 });
    told.written += done.docs_written;
    told.failed += done.doc_write_failures;
    told.errors.push(...done.errors.map(String));
  };
  if (way === 'memory') {
    const local = new PouchDB('local', { adapter: 'memory' });
    await replicate(remote(source), local);
    // What PouchDB hands to an application is what it was given.
    const rows = (await local.allDocs({ include_docs: true, attachments: true, binary: true })).rows;
    told.attachments = rows.reduce((count, row) => count + Object.keys(row.doc._attachments || {}).length, 0);
    const edited = await local.get('plain');
    const data = Buffer.from([0, 1, 2, 255]);
    edited._attachments = { 'from pouch.mp3': { content_type: 'audio/mpeg', data } };
    await local.put(edited);
    await replicate(local, remote(target));
    await replicate(local, remote(source));
  } else {
    await replicate(remote(source), remote(target));
  }
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
