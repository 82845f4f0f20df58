// Draws the tree of a task's replies, and reads it: a chosen branch shows its text, and keys move along the branches.

const CANVAS_EDGES = 6; // pixels of padding at both sides
const MOST_BEFORE = 8; // lines shown before the text of a chosen branch
const MOST_OPEN = 24; // buttons for the answers of a branch
let pictures = 0;

// Draws the tree of rows[number] into an element. `open(k)` opens an answer; `chosen`: the answer to begin with.
function drawTree(place, found, told, { chosen = null, open }) {
  const { task } = found;
  const replies = told.flatMap((answer, k) => (task.answers[k][ROUND] === 0 && typeof answer[REPLY] === "string" ? [[k, answer[REPLY]]] : []));
  const tree = drawable(replyTree(replies, (k) => task.answers[k][OUTCOME] === DATA.passed));
  const canvas = element("div", { class: "canvas" }), reading = element("div", { class: "reading" });
  place.replaceChildren(canvas, reading);
  const picture = { found, tree, canvas, reading, open, id: (pictures += 1), parts: new Map(), at: null };
  paint(picture);
  choose(picture, leavesOf(tree).find((leaf) => leaf.answers.includes(chosen)) ?? tree);
  watchWidth(picture);
}

// Paints again if the width changes by more than a scroll bar.
function watchWidth(picture) {
  let width = picture.canvas.clientWidth;
  new ResizeObserver(() => {
    const now = picture.canvas.clientWidth;
    if (!now || Math.abs(now - width) < 20) return;
    width = now;
    const { at } = picture;
    paint(picture);
    choose(picture, at);
  }).observe(picture.canvas);
}

function paint(picture) {
  const { found, tree, canvas } = picture;
  const wide = (canvas.clientWidth || 640) - CANVAS_EDGES;
  const ends = leavesOf(tree).map((leaf) => endWords(found, leaf, isNarrow(wide)).join(""));
  const [char, ...widths] = measured(canvas, [["code", "0"], ...ends.map((words) => ["count", words])]);
  const size = sizes(wide, char || 7, Math.max(...widths));
  const { boxes, width, height } = layOut(tree, size);
  const drawn = svg("svg", { class: "tree", role: "tree", width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": `Replies to ${found.task.id}` });
  const shades = svg("defs");
  drawn.append(shades);
  picture.parts.clear();
  branchesOf(tree).forEach((branch, k) => {
    const box = boxes.get(branch), [letter, look, words] = mark(found, branch.answers);
    const part = svg("g", { class: "branch", role: "treeitem", tabindex: -1, "aria-level": pathTo(branch).length, "aria-label": inFull(picture, branch, words) });
    part.append(svg("path", { class: `band ${look}`, d: outline(box, !branch.children.length) }));
    if (branch.parent) shade(shades, part.firstChild, `tree${picture.id}-${k}`, box, mark(found, branch.parent.answers)[1], look);
    write(part, branch, box, size, look);
    if (!branch.children.length) markEnd(part, picture, branch, box, size, [letter, look]);
    part.addEventListener("click", () => { choose(picture, branch); part.focus({ preventScroll: true }); });
    part.addEventListener("dblclick", () => picture.open(branch.answers[0]));
    part.addEventListener("focus", () => choose(picture, branch));
    picture.parts.set(branch, part);
    drawn.append(part);
  });
  drawn.addEventListener("keydown", (event) => { if (move(picture, event.key)) event.preventDefault(); });
  canvas.replaceChildren(drawn);
}

// The widths of texts of these classes.
function measured(canvas, texts) {
  const probe = svg("svg", { class: "tree" });
  probe.append(...texts.map(([look, words]) => svg("text", { class: look }, words)));
  canvas.replaceChildren(probe);
  return [...probe.children].map((text) => text.getComputedTextLength());
}

// The outline of a branch: a curve out of its parent, then straight, with round corners at the end of a reply.
function outline({ from, top, bottom, x, x1, x2 }, isLeaf) {
  const middle = (x + x1) / 2, r = isLeaf ? Math.min(4, (bottom - top) / 2) : 0;
  return `M${x} ${from.top}C${middle} ${from.top} ${middle} ${top} ${x1} ${top}H${x2 - r}a${r} ${r} 0 0 1 ${r} ${r}`
    + `V${bottom - r}a${r} ${r} 0 0 1 ${-r} ${r}H${x1}`
    + `C${middle} ${bottom} ${middle} ${from.bottom} ${x} ${from.bottom}Z`;
}

// Lets the colour of the parent run into that of the branch.
function shade(shades, band, id, { x, x1 }, before, after) {
  const made = svg("linearGradient", { id, gradientUnits: "userSpaceOnUse", x1: x, x2: x1 });
  made.append(svg("stop", { offset: 0, class: `stop ${before}` }), svg("stop", { offset: 1, class: `stop ${after}` }));
  shades.append(made);
  band.style.fill = `url(#${id})`;
}

// Writes the text of a branch into it, or above it if it is thin.
function write(part, branch, box, size, look) {
  const lines = linesIn(branch, box), inside = box.bottom - box.top >= THICK;
  const most = Math.floor((box.x2 - box.x1 - size.edge + 2) / size.char);
  if (most < LEGIBLE && lines.some((line) => line.length > most)) return;
  const middle = (box.top + box.bottom) / 2 - ((lines.length - 1) * LINE_HIGH) / 2;
  lines.forEach((line, k) => {
    const y = inside ? middle + k * LINE_HIGH + 4 : box.top - 4;
    part.append(svg("text", { class: `code ${inside ? `on ${look}` : "above"}`, x: box.x1 + size.edge / 2 - 2, y }, clipped(most < 12 ? line.trimStart() : line, most)));
  });
}

// The letter, number and outcome at the end of a branch.
function markEnd(part, picture, branch, { top, bottom, x2 }, size, [letter, look]) {
  const y = (top + bottom) / 2, [number, rest] = endWords(picture.found, branch, size.narrow);
  part.append(svg("rect", { class: `end ${look}`, x: x2 + 6, y: y - 9, width: 18, height: 18, rx: 3 }));
  part.append(svg("text", { class: `letter-in ${look}`, x: x2 + 15, y: y + 4.5, "text-anchor": "middle" }, letter));
  const label = svg("text", { class: "count", x: x2 + 30, y: y + 4.5 }, number);
  label.append(svg("tspan", { class: "words" }, rest));
  part.append(label);
}

// What stands after a reply: [how many gave it, the rest], short on a narrow screen.
function endWords(found, branch, narrow) {
  const number = branch.answers.length, several = branch.parts.length ? `, ${branch.replies} replies` : "";
  return narrow ? [`\u00d7${number}`, ""] : [`${number} `, `${unitOf(found, number)}${several}: ${mark(found, branch.answers)[2]}`];
}

// What is counted: agents, or answers if agents have several.
function unitOf({ task, byAgent }, number) {
  const first = task.answers.filter((answer) => answer[ROUND] === 0).length;
  return `${first > byAgent.size ? "answer" : "agent"}${number === 1 ? "" : "s"}`;
}

function inFull({ found, tree }, branch, words) {
  const parts = branch.children.length ? `, then ${branch.ways} ways` : branch.parts.length ? `, then ${branch.replies} different replies` : "";
  return `${branch.answers.length} of ${tree.answers.length} ${unitOf(found, tree.answers.length)}: ${opening(branch).slice(0, 80)}; ${words}${parts}`;
}

// Marks a branch and the path to it, and shows its text.
function choose(picture, branch) {
  picture.at = branch;
  const path = new Set(pathTo(branch));
  for (const [one, part] of picture.parts) {
    part.classList.toggle("off", branch !== picture.tree && !path.has(one) && !pathTo(one).includes(branch));
    part.tabIndex = one === branch ? 0 : -1;
    part.setAttribute("aria-selected", one === branch);
  }
  read(picture, branch);
}

// The branch that a key leads to.
function neighbour({ tree, at }, key) {
  const level = (branch) => pathTo(branch).length, all = branchesOf(tree);
  const alike = (by) => {
    const rest = by > 0 ? all.slice(all.indexOf(at) + 1) : all.slice(0, all.indexOf(at)).reverse();
    return rest.find((one) => level(one) === level(at) || (!one.children.length && level(one) < level(at)));
  };
  switch (key) {
    case "ArrowRight": return at.children[0];
    case "ArrowLeft": return at.parent;
    case "ArrowDown": return alike(1);
    case "ArrowUp": return alike(-1);
    case "Home": return tree;
    case "End": return all.at(-1);
    default: return null;
  }
}

function move(picture, key) {
  if (key === "Enter") { picture.open(picture.at.answers[0]); return true; }
  const next = neighbour(picture, key);
  if (!next) return key.startsWith("Arrow");
  picture.parts.get(next).focus();
  return true;
}

// The text of a branch, after the last lines before it, and the answers that it has.
function read({ found, tree, reading, open }, branch) {
  const { task } = found, words = mark(found, branch.answers)[2];
  const head = element("p"), counted = element("strong", {}, `${branch.answers.length} of ${tree.answers.length} ${unitOf(found, tree.answers.length)}`);
  const ways = branch.ways ? ` Then they part ${branch.ways} ways.` : "";
  const agree = !branch.ways ? "gave this reply" : !branch.text ? `gave ${branch.replies} different replies` : branch === tree ? "begin alike" : "go on alike";
  head.append(counted, ` ${agree}: ${words}.${ways}`);
  const list = element("p", { class: "answers small" }, "Open ");
  for (const k of branch.answers.slice(0, MOST_OPEN)) {
    const answer = task.answers[k], [letter, look] = mark(found, [k]);
    const button = element("button", { type: "button", "aria-label": `open the answer of ${agentName(answer[AGENT])}: ${inWords(answer[OUTCOME])}` });
    button.append(element("span", { class: `letter ${look}`, "aria-hidden": "true" }, letter), ` ${DATA.agents[answer[AGENT]][0]}${answer[SAMPLE] ? `/${answer[SAMPLE]}` : ""}`);
    button.addEventListener("click", () => open(k));
    list.append(button, " ");
  }
  if (branch.answers.length > MOST_OPEN) list.append(`and ${branch.answers.length - MOST_OPEN} more`);
  const text = element("pre"), before = branch.parent ? pathTo(branch.parent).map((one) => one.text).join("") : "";
  const lines = before.split("\n"), tail = lines.slice(-MOST_BEFORE).join("\n");
  text.append(element("span", { class: "before" }, lines.length > MOST_BEFORE ? `\u22ee\n${tail}` : tail));
  text.append(element(branch.parent ? "mark" : "span", {}, branch.text || (branch.ways ? "" : " (ends here)")));
  for (const part of branch.parts) text.append(`\n${part.answers.length} \u00d7 ${opening(part)}`);
  reading.replaceChildren(head, list, text);
  text.scrollTop = text.scrollHeight; // where the replies part
}
