// The charts of a load run: comparison of the levels, latencies of each level, memory per line.

const widest = (values) => Math.max(0, ...values.filter((value) => value !== null && value !== undefined));

// Draws lines over levels. Each of `lines` is [name, function from level to value]; a line skips levels without a value.
function drawLevels(place, along, xName, lines) {
  const known = DATA.curve.filter((level) => level[along] !== null);
  const drawn = lines.filter(([, value]) => known.some((level) => value(level) !== null && value(level) !== undefined));
  if (!drawn.length) { place.append(element("p", {}, "No measurements.")); return; }
  const top = widest(drawn.flatMap(([, value]) => known.map(value))) * 1.1 || 1;
  const { chart, x, y } = frame(place, [0, widest(known.map((level) => level[along])) * 1.08 || 1], [0, top], xName);
  drawn.forEach(([name, value], k) => {
    const points = known.filter((level) => value(level) !== null && value(level) !== undefined);
    for (const open of [false, true]) { // closed and open loops are separate curves
      const joined = points.filter((level) => level.is_open === open).map((level) => [x(level[along]), y(value(level))]);
      if (joined.length > 1) chart.append(svg("path", { class: `l thick l${k}${open ? " open" : ""}`, d: path(joined) }));
    }
    for (const level of points) {
      const dot = svg("circle", { class: `dot d${k}`, cx: x(level[along]), cy: y(value(level)), r: 4 });
      dot.append(svg("title", {}, `${level.name}: ${name} ${shown(value(level))}`));
      chart.append(dot);
    }
  });
  for (const level of known) { // the label goes above the highest dot
    const highest = widest(drawn.map(([, value]) => value(level))), at = x(level[along]);
    const anchor = at > WIDE - 60 ? "end" : at < LEFT + 40 ? "start" : "middle";
    chart.append(svg("text", { class: "movable", x: at, y: y(highest) - 9, "text-anchor": anchor }, level.name));
  }
  nameColours(place.parentElement.firstElementChild, drawn.map(([name], k) => [name, k]));
}

function heatMap(name, matrix) {
  const table = element("table", { class: "correlations" });
  table.append(element("caption", {}, name));
  const names = Object.keys(matrix), head = element("tr");
  head.append(element("th"), ...names.map((column) => element("th", { class: "n" }, column)));
  table.append(head);
  for (const row of names) {
    const line = element("tr");
    line.append(element("th", {}, row));
    for (const column of names) {
      const r = matrix[row][column];
      line.append(r === null ? element("td", { class: "n" }, "undefined") : element("td", { class: "n", "data-r": r.toFixed(3) }, (r + 0).toFixed(2)));
    }
    table.append(line);
  }
  const box = element("div", { class: "scroll" });
  box.append(table);
  return box;
}

function drawLevel(number) {
  const level = DATA.levels[number];
  byId("histograms").replaceChildren(...level.groups.filter((group) => group.histogram).map((group) => {
    const figure = element("figure");
    figure.append(element("figcaption", {}, `${level.name}, ${group.name}: latency distribution${group.histogram.mean ? ", with an exponential distribution of the same mean" : ""}`
      + (group.histogram.beyond ? `; ${group.histogram.beyond} more beyond the right edge` : "")));
    drawHistogram(figure, group.histogram);
    return figure;
  }));
  byId("joint").replaceChildren();
  if (level.joint.length) {
    const figure = element("figure"), caption = element("figcaption");
    if (level.shown[0] < level.shown[1]) caption.append(`${level.shown[0].toLocaleString("en")} of ${level.shown[1].toLocaleString("en")} answers`);
    figure.append(caption);
    drawScatter(figure, level.joint, "output tokens (latency in s)", level.top);
    nameColours(caption, level.joint.map(({ name }, k) => [name, k % 6]));
    byId("joint").append(figure);
  } else byId("joint").append(element("p", {}, "No answer reported its token counts."));
  byId("heat").replaceChildren(...level.groups.map((group) => {
    const box = element("div", { class: "heat" });
    box.append(element("h4", {}, group.name));
    for (const name of ["Pearson", "Spearman"]) if (group.correlations) box.append(heatMap(name, group.correlations[name.toLowerCase()]));
    if (!group.correlations) box.append(element("p", { class: "small" }, "undefined: too few answers reported their token counts"));
    return box;
  }));
  shadeCorrelations();
  settleAll();
  for (const part of document.querySelectorAll(".level")) part.hidden = Number(part.dataset.level) !== number;
}

function drawMemory() {
  for (const { file, lines } of DATA.memory) {
    const figure = element("figure");
    figure.append(element("figcaption", {}, file));
    const numbers = lines.map(([line]) => line), span = Math.max(...numbers) - Math.min(...numbers);
    const ends = [Math.max(0, Math.min(...numbers) - 0.05 * span - 1), Math.max(...numbers) + 0.05 * span + 1];
    const { chart, x, y } = frame(figure, ends, [0, widest(lines.map(([, size]) => size)) * 1.1 || 1], "line (memory in MiB)");
    for (const [line, size] of lines) {
      const stem = svg("line", { class: "stem", x1: x(line), x2: x(line), y1: y(0), y2: y(size) });
      stem.append(svg("title", {}, `line ${line}: ${shown(size)} MiB`));
      chart.append(stem);
    }
    byId("lines").append(figure);
  }
}

drawLevels(byId("curve"), "rate", "requests/s (latency in s)", ["p50", "p90", "p99"].map((q) => [q, (level) => level.latency[q]]));
drawLevels(byId("rates"), "in_air", "requests in flight (requests/s)", [["answered", (level) => level.rate], ["goodput", (level) => level.good]]);
if (DATA.levels.length) {
  byId("level").addEventListener("change", (event) => drawLevel(Number(event.target.value)));
  drawLevel(0);
}
if (DATA.memory.length) drawMemory();
