// The rollout browser: filters over the columns, a list that draws only what is in sight, the chosen rollout in full.
const ROW = 68, SPARE = 8;
let shown = new Uint32Array(0), chosen = -1, filterRun = 0;
const byId = (id) => document.getElementById(id);
const value = (id) => byId(id).value;

function groupsThatMix() {
  const first = new Map(), mixed = new Set();
  for (let row = 0; row < index.rows; row++) {
    if (column.phase[row] !== TRAINING) continue;
    const group = groupOf(row), both = column.correct[row] * 3 + column.followed[row];
    if (!first.has(group)) first.set(group, both);
    else if (first.get(group) !== both) mixed.add(group);
  }
  return mixed;
}

function groupOf(row) {
  return `${column.arm[row]}/${column.step[row]}/${column.group[row]}`;
}

const OUTCOMES = {
  "joint": (row) => column.correct[row] === 1 && column.followed[row] === 1,
  "only-correct": (row) => column.correct[row] === 1 && column.followed[row] === 0,
  "only-followed": (row) => column.correct[row] === 0 && column.followed[row] === 1,
  "neither": (row) => column.correct[row] === 0 && column.followed[row] === 0,
  "judged": (row) => index.judges.some((name) => {
    const score = column[`score:${name}`][row];
    return !Number.isNaN(score) && column.followed[row] !== UNKNOWN && (score >= 0.5) !== (column.followed[row] === 1);
  }),
  "unfinished": (row) => column.finished[row] === 0,
};

function tests() {
  const found = [];
  const arm = value("f-arm"), phase = value("f-phase"), from = value("f-from"), to = value("f-to");
  if (arm !== "") found.push((row) => column.arm[row] === Number(arm));
  if (phase !== "") found.push((row) => column.phase[row] === Number(phase));
  if (from !== "") found.push((row) => column.step[row] >= Number(from));
  if (to !== "") found.push((row) => column.step[row] <= Number(to) && column.phase[row] === TRAINING);
  const outcome = value("f-outcome");
  if (outcome === "mixed") {
    const mixed = groupsThatMix();
    found.push((row) => mixed.has(groupOf(row)));
  } else if (outcome) found.push(OUTCOMES[outcome]);
  const status = value("f-status"), component = value("f-component");
  const names = component ? [component] : index.components;
  if (component && !status) found.push((row) => column[`status:${component}`][row] !== 255);
  if (status === "passed") found.push((row) => names.some((name) => column[`score:${name}`][row] >= 1));
  if (status === "failed") found.push((row) => names.some((name) => column[`score:${name}`][row] < 1));
  if (status.startsWith("status:")) {
    const number = index.statuses.indexOf(status.slice("status:".length));
    found.push((row) => names.some((name) => column[`status:${name}`][row] === number));
  }
  const requirement = value("f-requirement");
  if (requirement) {
    const number = index.requirements.indexOf(requirement);
    found.push((row) => {
      for (let i = column.places[row]; i < column.places[row + 1]; i++)
        if (column.requirement[i] === number && column.met[i] === 0) return true;
      return false;
    });
  }
  return found;
}

async function filter() {
  const run = ++filterRun, checks = tests();
  let rows = new Uint32Array(index.rows), count = 0;
  for (let row = 0; row < index.rows; row++) if (checks.every((test) => test(row))) rows[count++] = row;
  rows = rows.slice(0, count);
  const words = value("f-search").trim().toLowerCase();
  if (words) rows = await search(rows, words, run);
  if (run !== filterRun) return;
  show(ordered(rows));
}

async function search(rows, words, run) {
  const inPrompt = items.map(([id, prompt]) => id.toLowerCase().includes(words) || prompt.toLowerCase().includes(words));
  const found = [];
  let told = performance.now();
  for (let i = 0; i < rows.length; i++) {
    if (run !== filterRun) return rows;
    const row = rows[i];
    if (inPrompt[column.item[row]]) { found.push(row); continue; }
    const text = await textOf(row);
    if (text && text.response.toLowerCase().includes(words)) found.push(row);
    if (performance.now() - told > 100) {
      told = performance.now();
      byId("count").textContent = `Searching: ${Math.round(100 * i / rows.length)} %, ${found.length} found`;
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  return Uint32Array.from(found);
}

function ordered(rows) {
  const [name, way] = value("f-order").split("-");
  if (!name) return rows;
  const known = (row) => (Number.isNaN(column[name][row]) ? -Infinity : column[name][row]);
  return rows.sort((a, b) => (way === "down" ? known(b) - known(a) : known(a) - known(b)) || a - b);
}

function show(rows) {
  shown = rows;
  const searched = value("f-search").trim() && index.with_text < index.rows ? " (search reads the texts that the page carries)" : "";
  byId("count").textContent = `${rows.length.toLocaleString("en")} of ${index.rows.toLocaleString("en")} rollouts${searched}`;
  byId("sizer").style.height = `${rows.length * ROW}px`;
  byId("list").scrollTop = 0;
  byId("sizer").replaceChildren();
  choose(rows.length ? 0 : -1);
}

function drawRows() {
  const list = byId("list"), sizer = byId("sizer");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  const there = new Map([...sizer.children].map((child) => [Number(child.dataset.place), child]));
  for (const [place, child] of there) if (place < first || place >= last) child.remove();
  for (let place = first; place < last; place++) if (!there.has(place)) sizer.append(rowOf(place));
  for (const child of sizer.children) child.setAttribute("aria-selected", String(Number(child.dataset.place) === chosen));
  chosen >= 0 ? list.setAttribute("aria-activedescendant", `row-${chosen}`) : list.removeAttribute("aria-activedescendant");
}

function rowOf(place) {
  const row = shown[place], words = element("span", { class: "faint" }, items[column.item[row]][1]);
  textOf(row).then((text) => { if (text) words.textContent = text.response.slice(answerStart(text.response)).trim() || text.response; });
  const made = element("div", { class: "row", role: "option", id: `row-${place}`, "aria-posinset": place + 1, "aria-setsize": shown.length },
    element("p", { class: "who" }, `${index.arms[column.arm[row]]} · ${whereOf(row)}`),
    element("p", { class: "line" }, flag(column.correct[row], "correct", "wrong"), flag(column.followed[row], "followed", "not followed"), words));
  made.dataset.place = place;
  made.style.top = `${place * ROW}px`;
  made.addEventListener("click", () => choose(place));
  return made;
}

function choose(place) {
  chosen = place;
  const list = byId("list"), top = place * ROW;
  if (place >= 0 && top < list.scrollTop) list.scrollTop = top;
  if (place >= 0 && top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  drawRows();
  const detail = byId("detail");
  if (place < 0) detail.replaceChildren(element("p", { class: "faint" }, "No rollout fits these filters."));
  else card(shown[place], true).then((parts) => { if (chosen === place) { detail.replaceChildren(...parts); detail.scrollTop = 0; } });
}

function statesOf(row) {
  return [...column.met.subarray(column.places[row], column.places[row + 1])].map((met) => ["failed", "met", "undecided"][met]);
}

// All of one rollout: where it is from, the prompt, the response with its marks, requirements and components.
// Where a second rollout of the same prompt stands beside it, requirements with another verdict there are marked.
async function card(row, whole, beside = null) {
  const text = await textOf(row), [id, prompt, answer] = items[column.item[row]];
  const states = statesOf(row), ids = [];
  for (let i = column.places[row]; i < column.places[row + 1]; i++) ids.push(index.requirements[column.requirement[i]]);
  const others = beside === null ? states : statesOf(beside);
  const requirements = ids.map((name, i) => {
    const [words, status, detail] = text ? text.requirements[i] : ["", "", ""];
    return { id: name, text: words, status, detail };
  });
  const head = element("header", {}, element("b", {}, `${index.arms[column.arm[row]]} · ${whereOf(row)}`),
    flag(column.correct[row], "correct", "wrong"), flag(column.followed[row], "followed", "not followed"));
  const facts = [id, `${column.tokens[row]} tokens${column.finished[row] === 0 ? ", cut off" : ""}`];
  if (answer !== null) facts.push(`gold answer ${answer}`);
  if (!Number.isNaN(column.advantage[row])) facts.push(`advantage ${column.advantage[row].toFixed(3)}`);
  const link = element("a", { class: "permalink", href: `#${nameOf(row)}` }, "Link to this rollout");
  const parts = [head, element("p", { class: "faint" }, `${facts.join(" · ")} · `, link)];
  if (whole) {
    const button = element("button", { type: "button" }, "Compare models on this prompt");
    button.addEventListener("click", () => compareOn(column.item[row]));
    parts.push(button, element("h4", {}, "Prompt"), element("pre", { class: "text prompt", tabindex: "0", "aria-label": "Prompt" }, prompt));
  }
  parts.push(element("h4", {}, "Response"));
  parts.push(text ? highlighted(text.response, requirements, states) : element("p", {}, "The page does not carry this text; it is in the run's parquet files."));
  if (requirements.length) parts.push(element("h4", {}, "Requirements"), checklist(requirements, states, others));
  parts.push(element("h4", {}, "Components"), components(row, text));
  return parts;
}

function checklist(requirements, states, others) {
  const words = { met: "✓ met", failed: "✗ failed", undecided: "– not scored" };
  return element("ol", { class: "checks" }, ...requirements.map(({ id, text, detail, status }, i) => element("li", others[i] && others[i] !== states[i] ? { class: "differs" } : {},
    element("span", { class: `badge ${states[i]}` }, `${i + 1} ${words[states[i]]}`), element("span", {}, text || id),
    element("span", {}, [others[i] && others[i] !== states[i] ? "≠ differs from the other model" : "", text ? id : "", status === "ok" ? "" : status, detail].filter(Boolean).join(" · ")))));
}

function components(row, text) {
  const rows = index.components.filter((name) => column[`status:${name}`][row] !== 255).map((name) => {
    const score = column[`score:${name}`][row];
    return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, Number.isNaN(score) ? "not scored" : score.toFixed(2)),
      element("td", {}, index.statuses[column[`status:${name}`][row]]), element("td", {}, (text && text.details[name]) || ""));
  });
  const heads = ["component", "score", "status", "why"].map((name) => element("th", { scope: "col" }, name));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores by component" },
    element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
}

function listKeys(event) {
  const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key === "Enter") byId("detail").focus();
  if (!(event.key in moves) || !shown.length) return;
  event.preventDefault();
  choose(Math.min(shown.length - 1, Math.max(0, chosen + moves[event.key])));
}

// Opens the rollout that the address names; filters that hide it are cleared. Says so where the page has none of that name.
async function openLinked() {
  const name = location.hash.slice(1);
  if (!name.startsWith("rollout-")) return;
  const row = rowNamed(name);
  if (row < 0) {
    byId("count").textContent = "The address names a rollout that this page does not have.";
  } else {
    if (!shown.includes(row)) {
      byId("filters").reset();
      await new Promise((resolve) => setTimeout(resolve));  // the form filters itself first
      await filter();
    }
    const place = shown.indexOf(row);
    byId("list").scrollTop = Math.max(0, place * ROW - byId("list").clientHeight / 2);
    choose(place);
  }
  byId("rollouts").scrollIntoView();
}

function startBrowser() {
  const form = byId("filters");
  let waiting = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, event.target.tagName === "INPUT" ? 200 : 0);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  let drawing = 0;
  byId("list").addEventListener("scroll", () => {
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(drawRows);
  });
  byId("list").addEventListener("keydown", listKeys);
  addEventListener("hashchange", openLinked);
  return filter();
}
