// The rollouts: columns of figures, opened at once, and blocks of text, opened when they are looked at.
const NONE = 0xFFFFFFFF, UNKNOWN = 2, TRAINING = 0;
const index = JSON.parse(document.getElementById("index").textContent);
const column = {};
let items = [];
const opened = new Map();
const KEPT_BLOCKS = 60;

async function open(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function openJson(id) {
  return JSON.parse(new TextDecoder().decode(await open(id)));
}

async function openColumns() {
  const kinds = { Uint8Array, Uint16Array, Uint32Array, Int32Array, Float32Array };
  await Promise.all(Object.entries(index.columns).map(async ([name, { block, kind }]) => {
    column[name] = new kinds[kind](await open(block));
  }));
  items = await openJson("items");
}

function textBlock(number) {
  if (!opened.has(number)) {
    if (opened.size >= KEPT_BLOCKS) opened.delete(opened.keys().next().value);
    opened.set(number, openJson(`text-${number}`));
  }
  return opened.get(number);
}

// Resolves to {response, details, requirements}, or to null where the page does not carry the text.
async function textOf(row) {
  const place = column.place[row];
  if (place === NONE) return null;
  const block = await textBlock(Math.floor(place / index.rows_a_block));
  const [response, details, requirements] = block[place % index.rows_a_block];
  return { response, details, requirements };
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function whereOf(row) {
  const step = column.step[row];
  return column.phase[row] === TRAINING ? `step ${step}` : "evaluation";
}

// A rollout's name in a link: its model, where it is from, and its number there. It stays when the page is written again.
function nameOf(row) {
  const there = placesOf(row);
  let number = 0;
  for (let other = row - 1; other >= 0 && placesOf(other) === there; other--) number++;
  return `rollout-${encodeURIComponent(index.arms[column.arm[row]])}-${there.split("/")[1]}-${number}`;
}

function placesOf(row) {
  return `${column.arm[row]}/${column.phase[row] === TRAINING ? column.step[row] : "evaluation"}`;
}

// The row that a link names, or -1.
function rowNamed(name) {
  const parts = /^rollout-(.*)-(evaluation|\d+)-(\d+)$/.exec(name);
  if (!parts) return -1;
  let arm = "";
  try { arm = decodeURIComponent(parts[1]); } catch { return -1; }
  const there = `${index.arms.indexOf(arm)}/${parts[2]}`;
  for (let row = 0; row < index.rows; row++)
    if (placesOf(row) === there) return Number(parts[3]) < index.rows - row && placesOf(row + Number(parts[3])) === there ? row + Number(parts[3]) : -1;
  return -1;
}

function flag(value, yes, no) {
  if (value === UNKNOWN) return element("span", { class: "badge undecided" }, `– ${yes}: not scored`);
  return element("span", { class: `badge ${value ? "met" : "failed"}` }, value ? `✓ ${yes}` : `✗ ${no}`);
}
