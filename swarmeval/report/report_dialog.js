// The dialog of an answer: its program, tests, diff and reply, copy buttons, and a link.

const dialog = byId("answer");
const LEFT_OUT = "(omitted to keep this page small; see the results file of the agent)";
let at = [-1, -1];
let opener = null; // what opened the dialog, if it is not a cell of the map

async function open(number, k) {
  at = [number, k];
  const found = rows[number], { task } = found, answer = task.answers[k];
  const texts = await pack(number);
  if (at[0] !== number || at[1] !== k) return;
  const told = texts.answers[k], [letter, look] = mark(found, [k]);
  const more = `${answer[SAMPLE] ? `, sample ${answer[SAMPLE]}` : ""}${answer[ROUND] ? `, repair ${answer[ROUND]}` : ""}`;
  byId("a-title").textContent = `${task.id}, ${agentName(answer[AGENT])}${more}`;
  byId("a-letter").textContent = letter;
  byId("a-letter").className = `letter ${look}`;
  const outcome = DATA.outcomes[answer[OUTCOME]] ?? "not judged yet";
  byId("a-verdict").textContent = [outcome, unconfirmed(told)].filter(Boolean).join(", ");
  byId("a-facts").textContent = [told[TOKENS] ? `${told[TOKENS]} tokens` : "", told[LATENCY] ? `${told[LATENCY]} s` : "",
    told[ENDED] === "length" ? "truncated at max_new_tokens" : "", told[NOTE] ? `code found by: ${told[NOTE]}` : ""].filter(Boolean).join(" · ");
  show("evidence", told[DETAIL] || (answer[OUTCOME] === DATA.passed ? "All tests passed." : "None."));
  const judged = answer[OUTCOME] >= 0 && DATA.outcomes[answer[OUTCOME]] !== "NOT_GENERATED";
  show("reply", told[REPLY] === "" ? "(an empty reply)" : told[REPLY] ?? (judged ? LEFT_OUT : ""));
  show("thought", told[THOUGHT] === null ? LEFT_OUT : told[THOUGHT] ?? "");
  byId("a-thought").closest("details").open = false;
  show("prompt", texts.prompt);
  show("tests", texts.tests);
  if (judged) showProgram(texts, told[PROGRAM]);
  else for (const name of ["program", "diff"]) show(name, "");
  byId("a-before").disabled = step(-1) === null;
  byId("a-after").disabled = step(1) === null;
  const link = `#job=${jobOf(found, k).split("/").map(encodeURIComponent).join("/")}`;
  byId("a-link").href = link;
  if (location.hash !== link) history.replaceState(null, "", link);
  if (!dialog.open) {
    opener = document.activeElement?.closest("#agreement") ? document.activeElement : null;
    dialog.showModal();
  }
  showBeside(found, k, texts.answers);
  dialog.scrollTop = 0;
}

// Shows a text in its part of the dialog; hides the part if the text is empty.
function show(name, text) {
  byId(`a-${name}`).textContent = text;
  byId(`a-${name}`).closest(".part").hidden = !text;
  const numbers = byId(`a-${name}-lines`);
  if (numbers) numbers.textContent = Array.from({ length: linesOf(text).length }, (_, k) => k + 1).join("\n");
}

function showProgram({ source, reference }, candidate) {
  const whole = candidate !== null && candidate.length <= DATA.cut;
  const known = source !== null && candidate;
  byId("a-program-title").textContent = known ? "Judged program" : "Code extracted from the reply";
  show("program", candidate === null ? LEFT_OUT : known ? source + candidate : candidate || "(no code)");
  byId("a-origin").textContent = known ? origin(source) : "";
  const can = known && whole && reference !== null;
  const lines = can ? unified(linesOf(source + reference), linesOf(source + candidate)) : [];
  show("diff", lines === null ? "(the program is too long for a diff)" : can && !lines.length ? "No lines differ." : lines.join("\n"));
  if (lines?.length) colourDiff(byId("a-diff"), lines);
}

const origin = (source) => (source.trim() ? `Lines 1 to ${linesOf(source).length} come from the task, the others from the reply.` : "");

// The next answer that passes the filters, across tasks.
function step(by) {
  const all = rowsInOrder().map((row) => rows[row.dataset.number]).flatMap((found) => [...found.shown].map((k) => [found.number, k]));
  const here = all.findIndex(([number, k]) => number === at[0] && k === at[1]);
  return here < 0 ? null : all[here + by] ?? null;
}

const go = (by) => { const next = step(by); if (next) open(...next); };
byId("a-before").addEventListener("click", () => go(-1));
byId("a-after").addEventListener("click", () => go(1));
byId("a-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.target.closest("pre, .lines")) return; // arrow keys scroll these
  if (event.key === "ArrowLeft") go(-1);
  if (event.key === "ArrowRight") go(1);
});
dialog.addEventListener("close", () => {
  const found = rows[at[0]], cell = found?.cells.get(found.task.answers[at[1]][AGENT]);
  at = [-1, -1];
  history.replaceState(null, "", location.pathname + location.search);
  if (opener?.isConnected) opener.focus();
  else if (cell && !found.row.hidden) cell.focus();
});

// Copies a text to the clipboard and confirms it on the button.
async function copy(button, text) {
  const words = button.textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // some browsers block this API for pages opened from a file
    const field = element("textarea");
    field.value = text;
    dialog.append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.textContent = done ? "copied" : "not copied";
  setTimeout(() => { button.textContent = words; }, 1200);
}
for (const button of dialog.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", () => copy(button, byId(button.dataset.copy).textContent));
}
byId("a-copy-link").addEventListener("click", (event) => copy(event.target, byId("a-link").href));

// A link to an answer: #job=agent/task/sample/round.
function follow() {
  if (!location.hash.startsWith("#job=")) return;
  let job = location.hash.slice(5);
  try { job = decodeURIComponent(job); } catch { /* the hash is not valid percent-encoding */ }
  for (const found of rows) {
    const k = found.task.answers.findIndex((_, one) => jobOf(found, one) === job);
    if (k >= 0) { open(found.number, k); return; }
  }
  byId("pointed").textContent = `This report has no answer ${job}; check the link.`;
}
addEventListener("hashchange", follow);
follow();
