// The section "Where agents agree": a task to choose, its numbers, and the tree of its replies.

const [REPLIES, DISTINCT_REPLIES, DISTINCT_PROGRAMS, CHARACTERS, DISTINCT_CHARACTERS] = [0, 1, 2, 3, 4]; // of an agreement
const MOST_TELLING = 5;

// How much a picture of the task shows: replies that share much and part, some of them passing.
function telling({ task }) {
  const found = task.agreement;
  if (!found || found[DISTINCT_REPLIES] < 2) return 0;
  const mixed = 4 * (task.share ?? 0) * (1 - (task.share ?? 0));
  const ways = Math.min(1, (found[DISTINCT_REPLIES] - 1) / 3, 12 / found[DISTINCT_REPLIES]); // neither few nor countless
  return (mixed + 0.01) * ways * Math.min(6, found[CHARACTERS] / Math.max(1, found[DISTINCT_CHARACTERS]));
}

const numbered = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// "10 agents, 6 distinct replies, 4 distinct programs", and what they share.
function agreementWords(found) {
  const { task, byAgent } = found, agreement = task.agreement;
  const who = agreement[REPLIES] > byAgent.size ? `${numbered(agreement[REPLIES], "answer", "answers")} of ${numbered(byAgent.size, "agent", "agents")}`
    : numbered(agreement[REPLIES], "agent", "agents");
  const factor = agreement[CHARACTERS] / Math.max(1, agreement[DISTINCT_CHARACTERS]);
  const words = `${who}, ${numbered(agreement[DISTINCT_REPLIES], "distinct reply", "distinct replies")}, `
    + `${numbered(agreement[DISTINCT_PROGRAMS], "distinct program", "distinct programs")}`;
  const number = (field) => agreement[field].toLocaleString("en");
  const saved = factor >= 1.05 ? `, ${factor.toFixed(1)} times fewer` : "";
  return [words, `${number(CHARACTERS)} characters; ${number(DISTINCT_CHARACTERS)} if shared beginnings count once${saved}.`];
}

// In the dialog of an answer: the tree with the way to this answer.
function showBeside(found, k, told) {
  const part = byId("a-tree").closest(".part");
  part.hidden = !found.task.agreement || found.task.answers[k][ROUND] > 0 || typeof told[k][REPLY] !== "string";
  if (part.hidden) return;
  byId("a-agreement").textContent = agreementWords(found)[0];
  drawTree(byId("a-tree"), found, told, { chosen: k, open: (other) => open(found.number, other) });
}

if (byId("agree-task")) {
  const trees = rows.filter(({ task }) => task.agreement), choice = byId("agree-task");
  const byTelling = [...trees].sort((a, b) => telling(b) - telling(a));
  const entry = ({ task, number }) => element("option", { value: number }, `${task.id}: ${numbered(task.agreement[DISTINCT_REPLIES], "reply", "replies")}${task.share === null ? "" : `, ${Math.round(100 * task.share)} % passed`}`);
  const groups = [["Most telling", byTelling.slice(0, MOST_TELLING)], ["All tasks", trees]];
  for (const [label, members] of groups) {
    const group = element("optgroup", { label });
    group.append(...members.map(entry));
    choice.append(group);
  }
  const show = async () => {
    const found = rows[choice.value], { answers } = await pack(found.number);
    if (rows[choice.value] !== found) return; // another task was chosen meanwhile
    [byId("agree-counts").textContent, byId("agree-shared").textContent] = agreementWords(found);
    drawTree(byId("agree-tree"), found, answers, { open: (k) => open(found.number, k) });
  };
  choice.addEventListener("change", show);
  show();
}
