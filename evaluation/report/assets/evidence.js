// Marks in a response what a requirement's verdict speaks of. Every piece of text becomes a text node, never markup.
const BREAKS = {
  "punctuation:no_comma": /,/g,
  "change_case:english_lowercase": /\p{Lu}+/gu,
  "change_case:english_capital": /\p{Ll}+/gu,
};
const MARKS_AT_MOST = 200;

function answerStart(response) {
  const end = response.indexOf("</think>");
  return end < 0 ? 0 : end + "</think>".length;
}

// Spans {from, to, state, number} in the order of the text, not overlapping; the first requirement to speak of a place has it.
function spansOf(response, requirements, states) {
  const start = answerStart(response);
  const found = [];
  requirements.forEach(({ id, detail }, i) => {
    const state = states[i];
    if (state === "failed" && BREAKS[id])
      for (const match of response.slice(start).matchAll(BREAKS[id]))
        found.push({ from: start + match.index, to: start + match.index + match[0].length, state, number: i + 1 });
    for (const quoted of detail.matchAll(/'([^']{2,120})'|"([^"]{2,120})"|`([^`]{2,120})`/g)) {
      const words = quoted[1] || quoted[2] || quoted[3];
      const from = response.indexOf(words, start);
      if (from >= 0) found.push({ from, to: from + words.length, state, number: i + 1 });
    }
    if (id === "startend:quotation") {
      const body = response.slice(start), first = start + body.search(/\S/), last = start + body.trimEnd().length - 1;
      if (body.trim()) for (const at of new Set([first, last])) found.push({ from: at, to: at + 1, state, number: i + 1 });
    }
  });
  const kept = [];
  for (const span of found.sort((a, b) => a.from - b.from || b.to - a.to))
    if (kept.length < MARKS_AT_MOST && (!kept.length || span.from >= kept[kept.length - 1].to)) kept.push(span);
  return kept;
}

function highlighted(response, requirements, states) {
  const box = element("pre", { class: "text", tabindex: "0", "aria-label": "Response" });
  const start = answerStart(response);
  if (start) box.append(element("span", { class: "reasoning" }, response.slice(0, start)));
  let at = start;
  for (const { from, to, state, number } of spansOf(response, requirements, states)) {
    box.append(response.slice(at, from));
    const title = `requirement ${number}: ${state}`;
    box.append(element("mark", { class: state, title }, response.slice(from, to), element("sup", {}, String(number))));
    at = to;
  }
  box.append(response.slice(at));
  return box;
}
