// The map of tasks and agents, its search and filters, and the answers behind its cells.

const [AGENT, SAMPLE, ROUND, OUTCOME] = [0, 1, 2, 3];           // of an answer in DATA
const [TOKENS, LATENCY, ENDED, DETAIL, NOTE, REPLY, CANDIDATE] = [0, 1, 2, 3, 4, 5, 6]; // of an answer in a pack
const LEFT_OUT = "(left out to keep this page small; the agent's results file has it)";

// Packs are unpacked when they are wanted, once each.
const unpacked = new Map();
function pack(number) {
  if (!unpacked.has(number)) unpacked.set(number, unpack(byId(`pack${number}`).textContent));
  return unpacked.get(number);
}

async function unpack(text) {
  const letters = atob(text.trim());
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// A row a task: its name, a cell an agent, its share of passes.
const rows = DATA.tasks.map((task, number) => {
  const cells = new Map(); // agent -> numbers of its answers
  task.answers.forEach((answer, k) => cells.set(answer[AGENT], [...(cells.get(answer[AGENT]) ?? []), k]));
  return { task, number, cells, share: task.share, rects: new Map(), row: null };
});

const cellWidth = 16; // at most, in pixels

function drawRow(found) {
  const { task, number, cells, share } = found;
  const row = element("div", { class: "row" });
  const name = element("button", { type: "button", title: `${task.id} ${task.entry}` }, task.id);
  name.addEventListener("click", () => open(number, firstShown(found)));
  const strip = svg("svg", { viewBox: `0 0 ${DATA.agents.length} 1`, preserveAspectRatio: "none" });
  for (const [agent, answers] of cells) {
    const first = answers.filter((k) => task.answers[k][ROUND] === 0);
    const passes = first.filter((k) => task.answers[k][OUTCOME] === DATA.passed).length;
    const one = task.answers[first.length === 1 ? first[0] : answers[0]][OUTCOME];
    const rect = svg("rect", { x: agent + 0.05, y: 0.06, width: 0.9, height: 0.88, "data-agent": agent });
    rect.classList.add(first.length > 1 ? "o0" : one < 0 ? "unknown" : `o${one}`);
    if (first.length > 1) rect.setAttribute("fill-opacity", 0.1 + (0.9 * passes) / first.length);
    strip.append(rect);
    found.rects.set(agent, rect);
  }
  row.append(name, strip, element("span", { class: "share" }, share === null ? "" : `${Math.round(100 * share)} %`));
  row.dataset.number = number;
  found.row = row;
}

// What is looked for.
const wanted = { words: "", outcome: "", agent: "" };
let texts = null; // by task: its own text, and that of each answer, in small letters

async function allTexts() {
  if (texts === null) {
    texts = Promise.all(rows.map(async ({ task, number }) => {
      const { prompt, answers } = await pack(number);
      const own = `${task.id} ${task.entry} ${prompt}`.toLowerCase();
      return [own, answers.map((a) => `${a[DETAIL]} ${a[NOTE]} ${a[REPLY] ?? ""} ${a[CANDIDATE] ?? ""}`.toLowerCase())];
    }));
  }
  return texts;
}

let asked = 0;
async function look() {
  const mine = (asked += 1);
  const words = wanted.words.trim().toLowerCase();
  if (words && texts === null) byId("found").textContent = "reading the replies";
  const all = words ? await allTexts() : null;
  if (mine !== asked) return; // something else was typed meanwhile
  let tasks = 0, count = 0;
  for (const found of rows) {
    const own = !words || all[found.number][0].includes(words);
    found.shown = new Set(found.task.answers.keys().filter((k) => {
      const answer = found.task.answers[k];
      return (wanted.outcome === "" || String(answer[OUTCOME]) === wanted.outcome)
        && (wanted.agent === "" || String(answer[AGENT]) === wanted.agent)
        && (own || all[found.number][1][k].includes(words));
    }));
    found.row.hidden = !found.shown.size;
    tasks += found.shown.size > 0;
    count += found.shown.size;
    for (const [agent, rect] of found.rects) {
      rect.classList.toggle("dim", !found.cells.get(agent).some((k) => found.shown.has(k)));
    }
  }
  const filtered = words || wanted.outcome !== "" || wanted.agent !== "";
  byId("found").textContent = filtered ? `${count.toLocaleString("en")} answers of ${tasks} tasks` : "";
}

const firstShown = (found) => Math.min(...(found.shown?.size ? found.shown : [0]));

function order(how) {
  const sorted = [...rows];
  if (how) sorted.sort((a, b) => (how === "hard" ? 1 : -1) * ((a.share ?? 0) - (b.share ?? 0)) || a.number - b.number);
  byId("map").replaceChildren(...sorted.map((found) => found.row));
}

// One answer, in the dialog.
const dialog = byId("answer");
let at = [0, 0];

const agentName = (agent) => { const [id, name] = DATA.agents[agent]; return `agent ${id}${name ? ` (${name})` : ""}`; };

async function open(number, k) {
  at = [number, k];
  const { task } = rows[number];
  const answer = task.answers[k];
  const { prompt, answers } = await pack(number);
  if (at[0] !== number || at[1] !== k) return;
  const found = answers[k];
  const more = `${answer[SAMPLE] ? `, sample ${answer[SAMPLE]}` : ""}${answer[ROUND] ? `, repair ${answer[ROUND]}` : ""}`;
  byId("a-title").textContent = `${task.id}, ${agentName(answer[AGENT])}${more}`;
  byId("a-verdict").textContent = DATA.outcomes[answer[OUTCOME]] ?? "not judged yet";
  byId("a-facts").textContent = [found[TOKENS] ? `${found[TOKENS]} tokens` : "", found[LATENCY] ? `${found[LATENCY]} s` : "",
    found[ENDED] === "length" ? "cut at max_new_tokens" : "", found[NOTE] ? `code found by: ${found[NOTE]}` : ""].filter(Boolean).join(" · ");
  byId("a-evidence").textContent = found[DETAIL] || (answer[OUTCOME] === DATA.passed ? "All tests passed." : "None.");
  byId("a-reply").textContent = found[REPLY] ?? LEFT_OUT;
  byId("a-candidate").textContent = (found[CANDIDATE] ?? LEFT_OUT) || "(no code)";
  byId("a-prompt").textContent = prompt || "(the benchmark's data was not to be had when this page was made)";
  byId("a-before").disabled = step(-1) === null;
  byId("a-after").disabled = step(1) === null;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

// The next answer that the filters show, in this task and then in its neighbours.
function step(by) {
  const shownRows = [...byId("map").children].filter((row) => !row.hidden).map((row) => rows[row.dataset.number]);
  const all = shownRows.flatMap((found) => [...(found.shown ?? [])].map((k) => [found.number, k]));
  const here = all.findIndex(([number, k]) => number === at[0] && k === at[1]);
  return all[here + by] ?? null;
}

const go = (by) => { const next = step(by); if (next) open(...next); };
byId("a-before").addEventListener("click", () => go(-1));
byId("a-after").addEventListener("click", () => go(1));
byId("a-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") go(-1);
  if (event.key === "ArrowRight") go(1);
});

// A cell: the first of its answers that is shown.
function pointed(event) {
  const agent = event.target.dataset?.agent, row = event.target.closest?.(".row");
  if (agent === undefined || !row) return null;
  const found = rows[row.dataset.number], mine = found.cells.get(Number(agent));
  return [found, mine.find((k) => found.shown?.has(k)) ?? mine[0], mine];
}
byId("map").addEventListener("click", (event) => { const cell = pointed(event); if (cell) open(cell[0].number, cell[1]); });
byId("map").addEventListener("pointerover", (event) => {
  const cell = pointed(event);
  if (!cell) return;
  const [{ task }, k, mine] = cell;
  const outcomes = mine.map((one) => DATA.outcomes[task.answers[one][OUTCOME]] ?? "not judged yet").join(", ");
  byId("pointed").textContent = `${task.id}, ${agentName(task.answers[k][AGENT])}: ${outcomes}`;
});

byId("map").style.setProperty("--map", `${cellWidth * DATA.agents.length}px`);
for (const found of rows) drawRow(found);
const came = new Set(DATA.tasks.flatMap((task) => task.answers.map((answer) => answer[OUTCOME])));
DATA.outcomes.forEach((name, k) => { if (came.has(k)) byId("outcome").append(element("option", { value: k }, name)); });
DATA.agents.forEach((_, k) => byId("agent").append(element("option", { value: k }, agentName(k))));
byId("search").addEventListener("input", (event) => { wanted.words = event.target.value; look(); });
byId("outcome").addEventListener("change", (event) => { wanted.outcome = event.target.value; look(); });
byId("agent").addEventListener("change", (event) => { wanted.agent = event.target.value; look(); });
byId("order").addEventListener("change", (event) => { order(event.target.value); });
order("");
look();
