// The answers of the run: their packed texts, search and filters, and the rows of the map.

const [AGENT, SAMPLE, ROUND, OUTCOME] = [0, 1, 2, 3]; // fields of an answer in DATA
const [TOKENS, LATENCY, ENDED, DETAIL, NOTE, REPLY, PROGRAM, UNCONFIRMED, THOUGHT] = [0, 1, 2, 3, 4, 5, 6, 7, 8]; // fields of an answer in a pack

// Packs are decompressed on demand, once each.
const unpacked = new Map();
function pack(number) {
  if (!unpacked.has(number)) unpacked.set(number, unpack(byId(`pack${number}`).textContent));
  return unpacked.get(number);
}

async function unpack(text) {
  const letters = atob(text.trim());
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const found = JSON.parse(await new Response(stream).text());
  for (const answer of found.answers) { // a repeated text is stored as the number of the first answer with it
    for (const part of [REPLY, PROGRAM, THOUGHT]) {
      if (typeof answer[part] === "number") answer[part] = found.answers[answer[part]][part];
    }
  }
  return found;
}

// One entry per task: its answers by agent, and those that pass the filters.
const rows = DATA.tasks.map((task, number) => {
  const byAgent = new Map();
  task.answers.forEach((answer, k) => {
    if (!byAgent.has(answer[AGENT])) byAgent.set(answer[AGENT], []);
    byAgent.get(answer[AGENT]).push(k);
  });
  return { task, number, byAgent, share: task.share, cells: new Map(), shown: new Set(), row: null };
});

const agentName = (agent) => { const [id, name] = DATA.agents[agent]; return `agent ${id}${name ? ` (${name})` : ""}`; };
const inWords = (outcome) => DATA.outcomes[outcome]?.toLowerCase().replaceAll("_", " ") ?? "not judged yet";
const unconfirmed = (told) => (told[UNCONFIRMED] ? "unconfirmed" : "");
const jobOf = ({ task }, k) => [DATA.agents[task.answers[k][AGENT]][0], task.id, task.answers[k][SAMPLE], task.answers[k][ROUND]].join("/");

// The letter, colour and words of one agent's answers to a task: [letter, class, words].
function mark({ task }, answers) {
  const first = answers.filter((k) => task.answers[k][ROUND] === 0);
  const found = (first.length ? first : answers).map((k) => task.answers[k][OUTCOME]);
  const passed = (k) => task.answers[k][OUTCOME] === DATA.passed;
  const passes = found.filter((outcome) => outcome === DATA.passed).length;
  if (new Set(found).size > 1) {
    const judged = found.filter((outcome) => outcome >= 0 && DATA.outcomes[outcome] !== "NOT_GENERATED").length || 1;
    const tenths = Math.min(9, Math.floor((10 * passes) / judged));
    return [String(tenths), `s${Math.floor((tenths * 4) / 10)}`, `${passes} of ${judged} passed`];
  }
  const [outcome] = found;
  if (outcome < 0) return [DATA.letters.waiting, "unknown", "not judged yet"];
  if (!passes && answers.some(passed)) return [DATA.letters.repaired, "repaired", `${inWords(outcome)}, passed after a repair`];
  return [DATA.letters.outcomes[outcome], `o${outcome}`, inWords(outcome)];
}

// The current search and filters.
const wanted = { words: "", outcome: "", agent: "" };
let texts = null; // per task: its own text and the text of each answer, in lower case

async function allTexts() {
  if (texts === null) {
    texts = Promise.all(rows.map(async ({ task, number }) => {
      const { prompt, answers } = await pack(number);
      const own = `${task.id} ${task.entry} ${prompt}`.toLowerCase();
      return [own, answers.map((a) => `${a[DETAIL]} ${a[NOTE]} ${unconfirmed(a)} ${a[REPLY] ?? ""} ${a[PROGRAM] ?? ""}`.toLowerCase())];
    }));
  }
  return texts;
}

let asked = 0;
async function look() {
  const mine = (asked += 1);
  const words = wanted.words.trim().toLowerCase();
  if (words && texts === null) byId("found").textContent = "searching the replies...";
  const all = words ? await allTexts() : null;
  if (mine !== asked) return; // a later search has started
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
    for (const [agent, cell] of found.cells) {
      cell.classList.toggle("dim", !found.byAgent.get(agent).some((k) => found.shown.has(k)));
    }
  }
  const filtered = words || wanted.outcome !== "" || wanted.agent !== "";
  byId("found").textContent = filtered ? `${count.toLocaleString("en")} answers of ${tasks} tasks` : "";
}

const firstShown = (found) => Math.min(...(found.shown.size ? found.shown : [0]));
