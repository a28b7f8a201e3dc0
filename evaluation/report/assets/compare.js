// Two models side by side on the prompts that both answered.
let rowsOf = [], shared = [], at = 0;

function startCompare() {
  rowsOf = index.arms.map(() => new Map());
  for (let row = 0; row < index.rows; row++) {
    const of = rowsOf[column.arm[row]], item = column.item[row];
    if (!of.has(item)) of.set(item, []);
    of.get(item).push(row);
  }
  // Arms of two groups: the seeds of one arm are seldom what one wants to compare.
  const other = index.groups.findIndex((group) => group !== index.groups[0]);
  byId("c-left").value = "0";
  byId("c-right").value = String(other >= 0 ? other : Math.min(1, index.arms.length - 1));
  for (const id of ["c-left", "c-right", "c-which"]) byId(id).addEventListener("change", () => pair());
  byId("c-previous").addEventListener("click", () => move(-1));
  byId("c-next").addEventListener("click", () => move(1));
  pair();
}

function pair(item = null) {
  const [left, right] = [rowsOf[Number(value("c-left"))], rowsOf[Number(value("c-right"))]];
  const both = [...left.keys()].filter((key) => right.has(key));
  // Prompts of the evaluation first: there both models answer in the same way.
  const evaluated = (key) => Number(left.get(key).some((row) => column.phase[row] !== TRAINING));
  both.sort((a, b) => evaluated(b) - evaluated(a) || a - b);
  const differ = both.filter((key) => rate(left.get(key)) !== rate(right.get(key)));
  shared = value("c-which") === "differ" && item === null ? differ : both;
  at = Math.max(0, item === null ? 0 : shared.indexOf(item));
  draw();
}

function rate(rows) {
  return rows.reduce((sum, row) => sum + Number(column.correct[row] === 1 && column.followed[row] === 1), 0) / rows.length;
}

function move(by) {
  if (!shared.length) return;
  at = (at + by + shared.length) % shared.length;
  draw();
}

function compareOn(item) {
  byId("c-which").value = "all";
  pair(item);
  byId("compare").scrollIntoView();
  byId("c-next").focus({ preventScroll: true });
}

function draw() {
  const [left, right] = [Number(value("c-left")), Number(value("c-right"))];
  if (!shared.length) {
    const why = left === right ? "Choose two models." : "There is no such prompt.";
    byId("c-place").textContent = why;
    byId("c-prompt").textContent = "";
    byId("c-one").replaceChildren();
    byId("c-two").replaceChildren();
    return;
  }
  const item = shared[at];
  byId("c-place").textContent = `Prompt ${at + 1} of ${shared.length.toLocaleString("en")}: ${items[item][0]}`;
  byId("c-prompt").textContent = items[item][1];
  const sides = [["c-one", left], ["c-two", right]].map(([id, arm]) => side(byId(id), arm, item));
  const fill = async () => {
    const rows = sides.map(({ select }) => select && Number(select.value));
    const cards = await Promise.all(rows.map((row, i) => row === null ? null : card(row, false, rows[1 - i])));
    if (shared[at] !== item) return;
    sides.forEach(({ select, body }, i) => { if (select && Number(select.value) === rows[i]) body.replaceChildren(...cards[i]); });
  };
  for (const { select } of sides) if (select) select.addEventListener("change", fill);
  fill();
}

// One arm's half: a choice among its responses to the prompt, and the place for the chosen one.
function side(holder, arm, item) {
  const rows = rowsOf[arm].get(item) || [], body = element("div");
  if (!rows.length) { holder.replaceChildren(element("p", {}, `${index.arms[arm]} did not answer this prompt.`)); return { select: null, body }; }
  const sorted = [...rows].sort((a, b) => column.phase[b] - column.phase[a] || column.step[b] - column.step[a] || a - b);
  const select = element("select", { "aria-label": `Response of ${index.arms[arm]}` });
  sorted.forEach((row, i) => {
    const both = column.correct[row] === 1 && column.followed[row] === 1;
    select.append(element("option", { value: row }, `${whereOf(row)} · response ${i + 1} of ${sorted.length}${both ? " ✓" : ""}`));
  });
  holder.replaceChildren(...(sorted.length > 1 ? [select] : []), body);
  return { select, body };
}
