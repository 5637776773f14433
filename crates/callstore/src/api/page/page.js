'use strict';
// Asks every two seconds; nothing is kept but the token, for as long as the tab is open.
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem('token') || '';
let shown = '';

async function ask(path) {
  const headers = token ? { 'X-Auth-Token': token } : {};
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Error(answer.status === 401 ? 'a token is wanted' : `${path} answered ${answer.status}`);
  return answer.json();
}

function cell(row, text, name) {
  const made = row.insertCell();
  made.textContent = text === null || text === undefined ? '–' : String(text);
  if (name) made.className = name;
  return made;
}

function rows(id, items, fill) {
  const body = document.createElement('tbody');
  body.id = id;
  for (const item of items) fill(body.insertRow(), item);
  byId(id).replaceWith(body);
}

const short = (time) => (time ? time.replace('T', ' ').slice(0, 19) : null);

function showInstance(groups, metrics) {
  const value = (name) => metrics.get(`callstore_${name}`);
  const list = [
    ['Instance', groups.instance || 'the only one'],
    ['Acts', groups.is_active ? `yes, epoch ${groups.epoch}` : 'no: it is ready to take over'],
    ['Groups', groups.groups.map((group) => `${group.group}: ${(group.domains || []).join(', ') || 'all other domains'}`).join('; ') || 'none'],
    ['Behind the journal', `${value('lag_entries')} entries`],
    ['Records that wait', value('records_waiting')],
  ];
  const made = byId('instance');
  made.replaceChildren();
  for (const [name, text] of list) {
    const term = document.createElement('dt');
    const data = document.createElement('dd');
    term.textContent = name;
    data.textContent = text;
    made.append(term, data);
  }
}

async function readMetrics() {
  const text = await (await fetch('metrics')).text();
  return new Map(text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.split(' ')));
}

async function look() {
  const query = new URLSearchParams({ limit: '200' });
  for (const [name, id] of [['state', 'which'], ['number', 'number'], ['domain', 'domain']]) {
    if (byId(id).value) query.set(name, byId(id).value);
  }
  const [metrics, groups, nodes, dialogs] = await Promise.all([readMetrics(), ask('v1/groups'), ask('v1/nodes'), ask(`v1/dialogs?${query}`)]);
  showInstance(groups, metrics);
  rows('nodes', nodes.nodes, (row, node) => {
    cell(row, node.name);
    cell(row, node.legs);
    cell(row, node.suspect, node.suspect ? 'suspect' : '');
    cell(row, short(node.last_event));
    cell(row, short(node.last_answer));
  });
  rows('dialogs', dialogs.dialogs, (row, dialog) => {
    cell(row, dialog.state, dialog.state);
    cell(row, dialog.from);
    cell(row, dialog.to);
    cell(row, dialog.domain);
    cell(row, dialog.node);
    cell(row, short(dialog.answered || dialog.created));
    const button = document.createElement('button');
    button.textContent = 'story';
    button.title = dialog.id;
    button.addEventListener('click', () => { shown = dialog.id; tick(); });
    row.insertCell().append(button);
  });
  byId('more').textContent = dialogs.next ? 'There are more: narrow it down.' : '';
  if (shown) await showStory();
  const ready = metrics.get('callstore_ready') === '1';
  byId('state').textContent = ready ? 'ready' : 'reading the journal';
  byId('state').className = ready ? 'ready' : '';
}

async function showStory() {
  const dialog = await ask(`v1/dialogs/${encodeURIComponent(shown)}`);
  const lines = [dialog, ...dialog.legs].flatMap((item) => item.story).sort((a, b) => (a.time < b.time ? -1 : 1));
  byId('story-card').hidden = false;
  byId('story-id').textContent = `${shown} (${dialog.state})`;
  rows('story', lines, (row, line) => {
    cell(row, line.time);
    cell(row, line.event);
    cell(row, line.note);
  });
}

async function tick() {
  try {
    await look();
  } catch (error) {
    byId('state').textContent = error.message;
    byId('state').className = 'lost';
  }
}

byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token').value;
  sessionStorage.setItem('token', token);
  tick();
});
byId('filter').addEventListener('submit', (event) => { event.preventDefault(); tick(); });
tick();
setInterval(tick, 2000);
