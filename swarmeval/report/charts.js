// Charts shared by the reports: axes, a histogram with its fit, a scatter plot with regressions, shaded correlations.

const WIDE = 520, HIGH = 250, LEFT = 58, RIGHT = 24, TOP = 24, BOTTOM = 44;

const shown = (value) => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(size >= 100 ? 3 : 2)));
};

// A number in short form, for axis labels.
const short = (value) => (Math.abs(value) >= 10000 ? value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 }) : shown(value));

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return found;
}

// 1, 2 and 5 times powers of ten; only the powers if there are many.
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const steps = last - first > 4 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = first; power <= last; power += 1) found.push(...steps.map((step) => Number(`${step}e${power}`)));
  return found.filter((v) => v >= low && v <= high);
}

// Draws both axes. The returned functions x and y convert values to coordinates.
function frame(place, [left, right], [bottom, top], xName, xLog = false) {
  const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": xName });
  const along = xLog ? (v) => Math.log(v / left) / (Math.log(right / left) || 1) : (v) => (v - left) / (right - left || 1);
  const x = (v) => LEFT + along(v) * (WIDE - LEFT - RIGHT);
  const y = (v) => HIGH - BOTTOM - ((v - bottom) / (top - bottom || 1)) * (HIGH - TOP - BOTTOM);
  for (const v of ticks(bottom, top, 4)) {
    chart.append(svg("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: y(v), y2: y(v) }));
    chart.append(svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short(v)));
  }
  const across = xLog ? logTicks(left, right) : ticks(left, right, 6);
  for (const v of across) chart.append(svg("text", { x: x(v), y: HIGH - BOTTOM + 22, "text-anchor": "middle" }, short(v)));
  chart.append(svg("text", { x: WIDE - RIGHT, y: HIGH - 3, "text-anchor": "end" }, xName));
  place.append(chart);
  return { chart, x, y };
}

// Moves labels that overlap an earlier one or leave the chart, and hides those that fit nowhere; marks keep their titles.
// Axes are drawn first, so their numbers have priority.
function settle(chart) {
  const taken = [], edge = chart.viewBox.baseVal;
  const apart = (a, b) => a.x >= b.x + b.width + 2 || b.x >= a.x + a.width + 2 || a.y >= b.y + b.height - 1 || b.y >= a.y + a.height - 1;
  for (const label of chart.querySelectorAll("text")) {
    label.removeAttribute("visibility");
    label.removeAttribute("transform");
    const box = label.getBBox();
    if (!box.width) continue; // not rendered
    const across = Math.max(edge.x - box.x, Math.min(0, edge.x + edge.width - box.x - box.width));
    const lines = label.classList.contains("movable") ? [0, 1, 2] : [0];
    const places = lines.map((line) => ({ x: box.x + across, y: box.y + line * box.height, width: box.width, height: box.height }));
    const free = places.find((place) => taken.every((other) => apart(place, other)));
    if (!free) { label.setAttribute("visibility", "hidden"); continue; }
    if (across || free.y !== box.y) label.setAttribute("transform", `translate(${across} ${free.y - box.y})`);
    taken.push(free);
  }
}
const settleAll = () => document.querySelectorAll("svg[role=img]").forEach(settle);
matchMedia("(max-width: 640px)").addEventListener("change", settleAll); // the font is larger on narrow screens
addEventListener("load", settleAll);

const path = (points) => points.map(([a, b], k) => `${k ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");

function drawHistogram(place, found) {
  const { start, width, counts, mean } = found;
  const total = counts.reduce((a, b) => a + b, 0), bin = width || Math.max(start / 10, 1e-9);
  const end = start + bin * counts.length;
  const expected = (at) => (total * bin * Math.exp(-at / mean)) / mean;
  const top = Math.max(...counts) * 1.18;
  const { chart, x, y } = frame(place, [Math.min(start, 0), end], [0, top], "latency, s");
  counts.forEach((count, k) => {
    const left = x(start + k * bin), right = x(start + (k + 1) * bin);
    const column = svg("rect", { class: "column", x: left, width: Math.max(0.5, right - left - 0.5), y: y(count), height: y(0) - y(count) });
    column.append(svg("title", {}, `${shown(start + k * bin)} to ${shown(start + (k + 1) * bin)} s: ${count}`));
    chart.append(column);
  });
  const fit = [];
  for (let k = 0; k <= 100; k += 1) {
    const at = (end * k) / 100;
    if (mean && expected(at) <= top) fit.push([x(at), y(expected(at))]);
  }
  if (fit.length > 1) chart.append(svg("path", { class: "fit", d: path(fit) }));
  for (const [name, value] of Object.entries(found.percentiles)) {
    if (value > end * (1 + 1e-9)) { // outside the chart
      chart.append(svg("text", { class: "movable", x: WIDE - RIGHT, y: 12, "text-anchor": "end" }, `${name} at ${shown(value)} \u2192`));
      continue;
    }
    const line = svg("line", { class: "mark", x1: x(value), x2: x(value), y1: TOP, y2: y(0) });
    line.append(svg("title", {}, `${name}: ${shown(value)} s`));
    chart.append(line, svg("text", { class: "movable", x: x(value) + 3, y: 12 }, name));
  }
}

// Draws sets of dots, each with its regression line (slope, intercept) and its own colour.
// Dots above `highest` are drawn on the upper edge.
function drawScatter(place, sets, xName, highest = Infinity) {
  const all = sets.flatMap(({ dots }) => dots);
  const right = Math.max(1, ...all.map((dot) => dot[0]));
  const top = Math.min(highest, Math.max(...all.map((dot) => dot[1]))) * 1.05 || 1;
  const { chart, x, y } = frame(place, [0, right], [0, top], xName);
  sets.forEach(({ dots }, k) => {
    for (const [tokens, latency] of dots) {
      const far = latency > top;
      const dot = svg("circle", { class: `dot d${k % 6}`, cx: x(tokens).toFixed(1), cy: y(Math.min(latency, top)).toFixed(1), r: far ? 4 : 2.2 });
      if (far) dot.append(svg("title", {}, `${shown(latency)} s`));
      chart.append(dot);
    }
  });
  sets.forEach(({ line }, k) => {
    if (!line) return;
    const [slope, intercept] = line;
    const ends = []; // clipped to the frame
    for (let step = 0; step <= 200; step += 1) {
      const at = (right * step) / 200, value = intercept + slope * at;
      if (value >= 0 && value <= top) ends.push([x(at), y(value)]);
    }
    const look = sets.length > 1 ? `l l${k % 6}` : "fit";
    if (ends.length > 1) chart.append(svg("path", { class: look, d: path([ends[0], ends.at(-1)]) }));
  });
}

// Appends a legend to a caption: names with the numbers of their colours.
function nameColours(caption, named) {
  for (const [name, colour] of named) {
    const key = svg("svg", { class: "stroke", viewBox: "0 0 14 4" });
    key.append(svg("line", { class: `l l${colour}`, x1: 0, x2: 14, y1: 2, y2: 2 }));
    const word = element("span", { class: "named" });
    word.append(key, name);
    caption.append(" ", word);
  }
}

function shadeCorrelations() {
  for (const cell of document.querySelectorAll("td[data-r]")) {
    const r = Number(cell.dataset.r);
    cell.style.backgroundColor = `color-mix(in srgb, var(${r < 0 ? "--b" : "--a"}) ${Math.round(45 * Math.abs(r))}%, transparent)`;
  }
}
