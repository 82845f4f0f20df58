// The charts of a run: pass@k, latencies, and the time series.

function drawCurve() {
  const points = DATA.curve.map(([k, value]) => [k, 100 * value]);
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

// One chart per quantity: pass@1 within a budget, on a logarithmic axis, with its interval as a band.
function drawBudgets() {
  for (const { name, unit, points } of DATA.budgets) {
    const figure = element("figure");
    figure.append(element("figcaption", {}, `pass@1 within a budget of ${name}`));
    const top = Math.min(100, Math.max(1, 110 * Math.max(...points.map(([, , , high]) => high))));
    const [left, right] = [points[0][0], Math.max(points.at(-1)[0], points[0][0] * 2)];
    const { chart, x, y } = frame(figure, [left, right], [0, top], `${unit} (pass@1 in %)`, true);
    const edge = (column) => points.map((point) => [x(point[0]), y(100 * point[column])]);
    chart.append(svg("path", { class: "band", d: `${path([...edge(2), ...edge(3).reverse()])}Z` }));
    chart.append(svg("path", { class: "l l0", d: path(edge(1)) }));
    for (const [budget, share, low, high, ended] of points) {
      const dot = svg("circle", { class: "dot", cx: x(budget), cy: y(100 * share), r: 3.5 });
      const ends = [low, high].map((value) => shown(100 * value)).join(" to ");
      dot.append(svg("title", {}, `${shown(budget)} ${unit}: pass@1 ${shown(100 * share)} % (${ends}); ${shown(100 * ended)} % of the replies had ended`));
      chart.append(dot);
    }
    byId("curves").append(figure);
  }
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
    // Leaves room for event labels above the lines.
    const top = Math.max(1e-9, ...lines.flatMap((line) => line.points.map((point) => point[1])));
    const end = minutes ? DATA.seconds / 60 : DATA.seconds;
    const { chart, x, y } = frame(figure, [0, end || 1], [0, top * (DATA.events.length ? 1.3 : 1.05)], minutes ? "minutes" : "seconds");
    lines.forEach(({ name, points }) => {
      chart.append(svg("path", { class: `l l${colour(name, lines)}`, d: path(points.map(([t, v]) => [x(minutes ? t / 60 : t), y(v)])) }));
    });
    if (lines.length > 1) nameColours(figure.firstChild, lines.map(({ name }) => [name, colour(name, lines)]));
    for (const [at, kind, device, text] of DATA.events) {
      const place = x(minutes ? at / 60 : at);
      const mark = svg("line", { class: "event", x1: place, x2: place, y1: TOP, y2: HIGH - BOTTOM });
      mark.append(svg("title", {}, `${inPlainWords(kind)} ${device}: ${text}`));
      const onRight = place > (LEFT + WIDE) / 2; // the label goes on the side with more room
      chart.append(mark, svg("text", { class: "movable", x: place + (onRight ? -4 : 4), y: 12, "text-anchor": onRight ? "end" : "start" }, inPlainWords(kind)));
    }
    byId("panels").append(figure);
  }
}

const inPlainWords = (kind) => kind.replaceAll("_", " ");

// A device has the same colour in every panel.
const colours = new Map();
function colour(name, lines) {
  if (lines.length === 1) return 0;
  if (!colours.has(name)) colours.set(name, colours.size % 6);
  return colours.get(name);
}

if (byId("curve")) drawCurve();
if (DATA.latency) {
  drawHistogram(byId("histogram"), DATA.latency);
  drawScatter(byId("scatter"), [DATA.latency], "output tokens (latency in s)");
  shadeCorrelations();
}
if (DATA.budgets.length) drawBudgets();
if (DATA.series.length) drawPanels();
