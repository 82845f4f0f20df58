// The charts: pass@k, the histogram of latencies, latency against tokens, and everything over time.

const WIDE = 520, HIGH = 250, LEFT = 52, RIGHT = 14, TOP = 22, BOTTOM = 34;

const shown = (value) => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(size >= 100 ? 3 : 2)));
};

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return found;
}

// A frame with both axes; x and y of what comes back turn values into places.
function frame(place, [left, right], [bottom, top], xName, xLog = false) {
  const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": xName });
  const along = xLog ? (v) => Math.log(v / left) / (Math.log(right / left) || 1) : (v) => (v - left) / (right - left || 1);
  const x = (v) => LEFT + along(v) * (WIDE - LEFT - RIGHT);
  const y = (v) => HIGH - BOTTOM - ((v - bottom) / (top - bottom || 1)) * (HIGH - TOP - BOTTOM);
  for (const v of ticks(bottom, top, 4)) {
    chart.append(svg("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: y(v), y2: y(v) }));
    chart.append(svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, shown(v)));
  }
  const across = xLog ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((v) => v >= left && v <= right) : ticks(left, right, 6);
  for (const v of across) chart.append(svg("text", { x: x(v), y: HIGH - BOTTOM + 16, "text-anchor": "middle" }, shown(v)));
  chart.append(svg("text", { x: WIDE - RIGHT, y: HIGH - 3, "text-anchor": "end" }, xName));
  place.append(chart);
  return { chart, x, y };
}

const path = (points) => points.map(([a, b], k) => `${k ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");

function drawCurve() {
  const points = DATA.curve.map(([k, value]) => [k, 100 * value]);
  if (!points.length) return;
  const bounds = Object.values(DATA.intervals).map(([, high]) => 100 * high);
  const top = Math.min(100, Math.max(1, 1.1 * Math.max(...points.map((p) => p[1]), ...bounds)));
  const { chart, x, y } = frame(byId("curve"), [1, Math.max(2, points.at(-1)[0])], [0, top], "k answers (pass@k in %)", true);
  for (const [k, [low, high]] of Object.entries(DATA.intervals)) {
    chart.append(svg("line", { class: "mark", x1: x(k), x2: x(k), y1: y(100 * low), y2: y(100 * high) }));
  }
  chart.append(svg("path", { class: "l l0", d: path(points.map(([k, v]) => [x(k), y(v)])) }));
  for (const [k, v] of points.length > 12 ? [points[0], points.at(-1)] : points) {
    chart.append(svg("circle", { class: "dot", cx: x(k), cy: y(v), r: 3.5 }));
  }
}

function drawHistogram(found) {
  const { start, width, counts, mean } = found;
  const total = counts.reduce((a, b) => a + b, 0), bin = width || Math.max(start / 10, 1e-9);
  const end = start + bin * counts.length;
  const expected = (at) => (total * bin * Math.exp(-at / mean)) / mean;
  const top = Math.max(...counts) * 1.18;
  const { chart, x, y } = frame(byId("histogram"), [Math.min(start, 0), end], [0, top], "latency, s");
  counts.forEach((count, k) => {
    const left = x(start + k * bin), right = x(start + (k + 1) * bin);
    const column = svg("rect", { class: "column", x: left, width: Math.max(0.5, right - left - 0.5), y: y(count), height: y(0) - y(count) });
    column.append(svg("title", {}, `${shown(start + k * bin)} to ${shown(start + (k + 1) * bin)} s: ${count}`));
    chart.append(column);
  });
  const fit = [];
  for (let k = 0; k <= 100; k += 1) {
    const at = (end * k) / 100;
    if (expected(at) <= top) fit.push([x(at), y(expected(at))]);
  }
  if (fit.length > 1) chart.append(svg("path", { class: "fit", d: path(fit) }));
  let last = -100, level = 0;
  for (const [name, value] of Object.entries(found.percentiles)) {
    level = x(value) - last < 30 ? level + 1 : 0;
    last = x(value);
    chart.append(svg("line", { class: "mark", x1: x(value), x2: x(value), y1: TOP, y2: y(0) }));
    chart.append(svg("text", { x: Math.min(x(value) + 3, WIDE - RIGHT - 22), y: 12 + 12 * level }, name));
  }
}

function drawScatter({ dots, line }) {
  const right = Math.max(1, ...dots.map((dot) => dot[0])), top = Math.max(...dots.map((dot) => dot[1])) * 1.05;
  const { chart, x, y } = frame(byId("scatter"), [0, right], [0, top], "output tokens (latency in s)");
  for (const [tokens, latency] of dots) chart.append(svg("circle", { class: "dot", cx: x(tokens).toFixed(1), cy: y(latency).toFixed(1), r: 2.2 }));
  if (!line) return;
  const [slope, intercept] = line;
  const ends = []; // the part of it that the frame holds
  for (let k = 0; k <= 200; k += 1) {
    const at = (right * k) / 200, value = intercept + slope * at;
    if (value >= 0 && value <= top) ends.push([x(at), y(value)]);
  }
  if (ends.length > 1) chart.append(svg("path", { class: "fit", d: path([ends[0], ends.at(-1)]) }));
}

function drawPanels() {
  const panels = new Map();
  for (const [panel, name, unit, points] of DATA.series) {
    if (!panels.has(panel)) panels.set(panel, []);
    panels.get(panel).push({ name, unit, points });
  }
  const minutes = DATA.seconds > 300;
  for (const [title, lines] of panels) {
    const figure = element("figure");
    figure.append(element("figcaption", {}, `${title}, ${lines[0].unit}`));
    const top = Math.max(1e-9, ...lines.flatMap((line) => line.points.map((point) => point[1])));
    const end = minutes ? DATA.seconds / 60 : DATA.seconds;
    const { chart, x, y } = frame(figure, [0, end || 1], [0, top * 1.05], minutes ? "minutes" : "seconds");
    lines.forEach(({ name, points }) => {
      chart.append(svg("path", { class: `l l${colour(name, lines)}`, d: path(points.map(([t, v]) => [x(minutes ? t / 60 : t), y(v)])) }));
    });
    if (lines.length > 1) nameLines(figure.firstChild, lines);
    for (const [at, kind, device, text] of DATA.events) {
      const place = x(minutes ? at / 60 : at);
      const mark = svg("line", { class: "event", x1: place, x2: place, y1: TOP, y2: HIGH - BOTTOM });
      mark.append(svg("title", {}, `${kind} ${device}: ${text}`));
      chart.append(mark);
    }
    byId("panels").append(figure);
  }
}

// A device has the same colour in every panel.
const colours = new Map();
function colour(name, lines) {
  if (lines.length === 1) return 0;
  if (!colours.has(name)) colours.set(name, colours.size % 6);
  return colours.get(name);
}

function nameLines(caption, lines) {
  lines.forEach(({ name }) => {
    const key = svg("svg", { class: "stroke", viewBox: "0 0 14 4" });
    key.append(svg("line", { class: `l l${colour(name, lines)}`, x1: 0, x2: 14, y1: 2, y2: 2 }));
    const named = element("span", { class: "named" });
    named.append(key, name);
    caption.append(" ", named);
  });
}

function shadeCorrelations() {
  for (const cell of document.querySelectorAll("td[data-r]")) {
    const r = Number(cell.dataset.r);
    cell.style.backgroundColor = `color-mix(in srgb, var(${r < 0 ? "--b" : "--a"}) ${Math.round(45 * Math.abs(r))}%, transparent)`;
  }
}

drawCurve();
if (DATA.latency) {
  drawHistogram(DATA.latency);
  drawScatter(DATA.latency);
  shadeCorrelations();
}
if (DATA.series.length) drawPanels();
