// The map: one row per task, one cell per agent, and keyboard navigation.

const map = byId("map");
const MOST_HEADS = 16; // header rows, one per column of tasks

function drawRow(found) {
  const row = element("div", { class: "row", role: "row" });
  const name = element("button", { type: "button", class: "name", role: "rowheader", tabindex: -1, title: `${found.task.id} ${found.task.entry}` }, found.task.id);
  const share = element("span", { class: "share", role: "gridcell" }, found.share === null ? "" : `${Math.round(100 * found.share)} %`);
  const task = element("div", { class: "task", role: "presentation" });
  task.append(name, share);
  row.append(task);
  DATA.agents.forEach((_, agent) => {
    const answers = found.byAgent.get(agent);
    if (!answers) {
      row.append(element("span", { class: "open", role: "gridcell", "aria-label": `${found.task.id}, ${agentName(agent)}: not answered` }, DATA.letters.open));
      return;
    }
    const [letter, look, words] = mark(found, answers);
    const label = `${found.task.id}, ${agentName(agent)}: ${words}`;
    const cell = element("button", { type: "button", class: `cell ${look}`, role: "gridcell", tabindex: -1, "data-agent": agent, "aria-label": label }, letter);
    row.append(cell);
    found.cells.set(agent, cell);
  });
  row.dataset.number = found.number;
  found.row = row;
}

// Draws the agent ids above each column of tasks.
function drawHeads() {
  const heads = element("div", { class: "heads" });
  for (let k = 0; k < Math.min(rows.length, MOST_HEADS); k += 1) {
    const head = element("div", { class: "row", role: "row" });
    if (k) head.setAttribute("aria-hidden", "true");
    head.append(element("span", { class: "task", role: "columnheader" }, DATA.agents.length > 1 ? "task, agents:" : "task"));
    DATA.agents.forEach(([id], agent) => head.append(element("span", { class: `head${String(id).length > 2 ? " long" : ""}`, role: "columnheader", title: agentName(agent) }, String(id))));
    heads.append(head);
  }
  return heads;
}

function order(how) {
  const sorted = [...rows];
  if (how) sorted.sort((a, b) => (how === "hard" ? 1 : -1) * ((a.share ?? 0) - (b.share ?? 0)) || a.number - b.number);
  for (const found of sorted) map.append(found.row);
}

const rowsInOrder = () => [...map.children].filter((row) => row.dataset.number !== undefined && !row.hidden);

// The whole map is a single tab stop; the keys below move within it.
let stop = null;
function makeStop(button) {
  if (stop) stop.tabIndex = -1;
  stop = button;
  stop.tabIndex = 0;
}
const buttonsOf = (row) => [...row.querySelectorAll("button")];
const columnsOfTasks = () => getComputedStyle(map).gridTemplateColumns.split(" ").length;

// The button that a key moves to; null if the key has no function here or there is no such button.
function target(key, button, far) {
  const all = rowsInOrder(), row = button.closest(".row"), at = all.indexOf(row), mine = buttonsOf(row), k = mine.indexOf(button);
  const same = (other) => other && (other.querySelector(`[data-agent="${button.dataset.agent}"]`) ?? buttonsOf(other)[0]);
  const down = (lines) => same(all[at + lines * columnsOfTasks()]) ?? null;
  switch (key) {
    case "ArrowRight": return mine[k + 1] ?? (all[at + 1] && buttonsOf(all[at + 1])[0]) ?? null;
    case "ArrowLeft": return mine[k - 1] ?? (all[at - 1] && buttonsOf(all[at - 1]).at(-1)) ?? null;
    case "ArrowDown": return down(1);
    case "ArrowUp": return down(-1);
    case "PageDown": return down(10) ?? same(all.at(-1));
    case "PageUp": return down(-10) ?? same(all[0]);
    case "Home": return buttonsOf(far ? all[0] : row)[0];
    case "End": return buttonsOf(far ? all.at(-1) : row).at(-1);
    default: return null;
  }
}

map.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || !event.target.closest(".row")) return;
  const next = target(event.key, event.target, event.ctrlKey);
  if (!next) return;
  event.preventDefault();
  next.focus();
});

// The first answer of a button that passes the filters: [number of the task, number of the answer].
function answerOf(button) {
  const found = rows[button.closest(".row").dataset.number];
  const mine = found.byAgent.get(Number(button.dataset.agent));
  return [found.number, mine ? mine.find((k) => found.shown.has(k)) ?? mine[0] : firstShown(found)];
}
map.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) open(...answerOf(button));
});
map.addEventListener("focusin", (event) => {
  if (event.target.tagName !== "BUTTON") return;
  makeStop(event.target);
  tell(event.target);
});
map.addEventListener("pointerover", (event) => { if (event.target.tagName === "BUTTON") tell(event.target); });
const tell = (button) => { byId("pointed").textContent = button.getAttribute("aria-label") ?? button.title; };

function drawKey() {
  const came = new Map();
  for (const found of rows) for (const [agent, answers] of found.byAgent) {
    const [letter, look, words] = mark(found, answers);
    came.set(look, /^s\d$/.test(look) ? ["0\u20139", "samples passed, in tenths"] : [letter, look === "repaired" ? "passed after a repair" : words]);
  }
  const shares = [...came.keys()].filter((look) => /^s\d$/.test(look)).slice(1);
  for (const look of shares) came.delete(look); // one entry represents all shares
  for (const look of [...came.keys()].sort()) {
    const [letter, words] = came.get(look), part = element("span", { class: "named" });
    part.append(element("span", { class: `letter ${look}` }, letter), ` ${words}`);
    byId("letters").append(part, " ");
  }
}

map.style.setProperty("--agents", DATA.agents.length);
for (const found of rows) drawRow(found);
map.append(drawHeads());
drawKey();
const came = new Set(DATA.tasks.flatMap((task) => task.answers.map((answer) => answer[OUTCOME])));
DATA.outcomes.forEach((name, k) => { if (came.has(k)) byId("outcome").append(element("option", { value: k }, name)); });
DATA.agents.forEach((_, k) => byId("agent").append(element("option", { value: k }, agentName(k))));
byId("search").addEventListener("input", (event) => { wanted.words = event.target.value; look(); });
byId("outcome").addEventListener("change", (event) => { wanted.outcome = event.target.value; look(); });
byId("agent").addEventListener("change", (event) => { wanted.agent = event.target.value; look(); });
byId("order").addEventListener("change", (event) => { order(event.target.value); });
order("");
look();
makeStop(buttonsOf(rows[0].row)[1] ?? buttonsOf(rows[0].row)[0]);
