// Draws the charts with plotly, each when it comes into sight, in the colours of the page's theme.
const charts = JSON.parse(document.getElementById("charts").textContent);
const PALETTES = {
  light: ["#0072b2", "#c24e00", "#007a5a", "#a8477f", "#3f6fd1", "#8a6100", "#333333"],
  dark: ["#56b4e9", "#ff9d5c", "#3ddba4", "#f0a1cf", "#a3bffa", "#f2c84b", "#f0f0f0"],
};
const DASHES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "10 4", longdashdot: "10 3 2 3" };
const SIGNS = {
  circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", "triangle-down": "▼", cross: "✚", x: "✖", star: "★",
  "circle-open": "○", "square-open": "□", "diamond-open": "◇", "triangle-up-open": "△", "triangle-down-open": "▽",
  "cross-open": "✛", "x-open": "✕", "star-open": "☆",
};
const MAPS = new Set(["heat", "changes"]);
const drawn = new Map();

function theme() {
  return document.documentElement.dataset.theme === "dark" ? "dark" : "light";
}

function shade(style) {
  const palette = PALETTES[theme()];
  if (style < 0) return getComputedStyle(document.documentElement).getPropertyValue("--faint").trim();
  return palette[style % palette.length];
}

function painted(trace) {
  if (!trace.meta) return trace;
  const colour = shade(trace.meta.style);
  const soft = colour + "33";
  const line = { ...trace.line, color: trace.meta.band ? "transparent" : colour };
  const bars = (bar) => bar && { ...bar, color: colour };
  return {
    ...trace, line, marker: { ...trace.marker, color: colour }, showlegend: false,
    ...(trace.fill ? { fillcolor: soft } : {}), ...(trace.stackgroup ? { fillcolor: colour + "b0" } : {}),
    ...(trace.error_x ? { error_x: bars(trace.error_x) } : {}),
    ...(trace.error_y ? { error_y: bars(trace.error_y) } : {}),
  };
}

function layoutOf(layout, kind) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  const axis = { gridcolor: line, zeroline: false, linecolor: line, automargin: true, fixedrange: !finePointer };
  return {
    ...layout, autosize: true, margin: { l: 44, r: 12, t: 10, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
    hoverlabel: { bgcolor: style.getPropertyValue("--card").trim(), font: { color: ink } },
    annotations: (layout.annotations || []).map((arrow) => ({ ...arrow, arrowcolor: style.getPropertyValue("--faint").trim() })),
    dragmode: finePointer && !MAPS.has(kind) ? "zoom" : false,
    xaxis: { ...axis, ...(MAPS.has(kind) ? { tickangle: narrow.matches ? -90 : -35 } : {}), ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
}
const finePointer = matchMedia("(pointer: fine)").matches;

// Names below a map stand upright on a narrow screen and slant on a wide one; both need room for the longest.
const narrow = matchMedia("(max-width: 48rem)");
function roomBelow(names) {
  return 7.5 * Math.max(...names.map((name) => name.length)) * (narrow.matches ? 1 : 0.6);
}

function drawChart(holder) {
  const { kind, panels } = charts[holder.dataset.chart];
  const plots = panels.map((panel) => {
    const plot = element("div", { class: "plot" });
    holder.append(element("div", {}, ...(panel.title ? [element("h4", {}, panel.title)] : []), plot));
    return { plot, panel, hidden: new Set() };
  });
  holder.classList.toggle("single", panels.length === 1);
  if (MAPS.has(kind)) plots[0].plot.style.height = `${40 + 30 * Math.max(3, panels[0].data[0].y.length) + roomBelow(panels[0].data[0].x)}px`;
  else holder.before(legend(holder.dataset.chart, kind, plots));
  drawn.set(holder, { kind, plots });
  paint(holder);
}

function paint(holder) {
  const { kind, plots } = drawn.get(holder);
  for (const { plot, panel, hidden } of plots) {
    const data = panel.data.map((trace) => ({ ...painted(trace), visible: !(trace.meta && hidden.has(trace.meta.series)) }));
    Plotly.react(plot, data, layoutOf(panel.layout, kind), { responsive: true, displayModeBar: false, doubleClick: "reset" });
  }
}

// Plotly's own legend cannot be reached by keyboard; these are check boxes.
function legend(name, kind, plots) {
  const seen = new Map();
  for (const { panel } of plots)
    for (const trace of panel.data) if (trace.meta && !trace.meta.band) seen.set(trace.meta.series, trace);
  const boxes = [...seen].map(([series, trace]) => {
    const box = element("input", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", () => {
      for (const { hidden } of plots) box.checked ? hidden.delete(series) : hidden.add(series);
      paint(document.querySelector(`[data-chart="${name}"]`));
    });
    return element("label", {}, box, swatch(kind, trace), series);
  });
  return element("fieldset", { class: "legend" }, element("legend", {}, "Shown"), ...boxes);
}

function swatch(kind, trace) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ width: 28, height: 12, "aria-hidden": "true" })) picture.setAttribute(name, value);
  const sign = (kind === "points" || kind === "dots") && trace.marker && SIGNS[trace.marker.symbol];
  if (sign && trace.mode !== "lines") return element("span", { "aria-hidden": "true", class: "sign", "data-style": trace.meta.style, style: `color: ${shade(trace.meta.style)}` }, sign);
  const line = document.createElementNS(space, "line");
  const width = kind === "area" ? 10 : 2.5;
  const dash = kind === "area" ? "" : DASHES[trace.line.dash] || "";
  for (const [name, value] of Object.entries({ x1: 0, x2: 28, y1: 6, y2: 6, "stroke-width": width, "stroke-dasharray": dash })) line.setAttribute(name, value);
  line.dataset.style = trace.meta.style;
  line.setAttribute("stroke", shade(trace.meta.style));
  picture.append(line);
  return picture;
}

function repaint() {
  for (const holder of drawn.keys()) paint(holder);
  for (const line of document.querySelectorAll("line[data-style]")) line.setAttribute("stroke", shade(Number(line.dataset.style)));
  for (const sign of document.querySelectorAll(".sign")) sign.style.color = shade(Number(sign.dataset.style));
}

function watchCharts() {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting && !drawn.has(entry.target)) {
        seen.unobserve(entry.target);
        drawChart(entry.target);
      }
  }, { rootMargin: "300px" });
  for (const holder of document.querySelectorAll("[data-chart]")) seen.observe(holder);
}
