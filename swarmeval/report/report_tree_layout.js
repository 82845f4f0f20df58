// Where the branches of a tree lie in its picture. Left to right; a branch is as thick as its answers are many.

const LINE_HIGH = 14, LABEL_HIGH = 16; // pixels of a line of text in a branch, and of a label above a thin one
const THICK = 16; // a branch of this height has its text inside
const THINNEST = 2.5, BETWEEN = 8;
const MOST_CHARS = { stem: 34, branch: 26, reply: 16 }; // asked for on one line; a reply also gets what is left
const LEGIBLE = 4; // characters; a longer text is left out where fewer fit
const MOST_STRETCH = 1.4; // times the width that a text needs

// Sizes for a width in pixels. `char`: the width of a character in a branch; `ends`: that of the widest word after a reply.
function sizes(width, char, ends) {
  const narrow = isNarrow(width), common = { width, char, narrow, ends: ends + 38 };
  return narrow ? { ...common, curve: 18, edge: 8, fewest: 0, highest: 190, unit: 13 } : { ...common, curve: 36, edge: 16, fewest: LEGIBLE, highest: 230, unit: 17 };
}

const isNarrow = (width) => width < 600;

// The branches in drawing order with their boxes, and the size of the picture:
// a branch leaves its parent at [x, from.top..from.bottom], is at full height at x1 and ends at x2.
function layOut(tree, size) {
  const unit = Math.min(size.unit, size.highest / tree.answers.length);
  const high = (branch) => Math.max(THINNEST, branch.answers.length * unit);
  const boxes = new Map();
  const height = stack(tree, 0, high, boxes);
  const room = size.width - size.ends;
  const most = (branch) => MOST_CHARS[branch.parent ? branch.children.length ? "branch" : "reply" : "stem"];
  const wish = (branch) => Math.min(most(branch), Math.max(LEGIBLE, ...linesIn(branch, boxes.get(branch)).map((line) => line.length)));
  const fixed = (branch) => (branch.parent ? size.curve : 0) + size.edge;
  const chars = (branch, level) => (level <= 1 ? Math.min(wish(branch), level * MOST_CHARS.stem) : wish(branch) * level);
  const wide = (branch, level) => fixed(branch) + Math.max(size.fewest, chars(branch, level)) * size.char;
  const longest = (level) => Math.max(...leavesOf(tree).map((leaf) => sum(pathTo(leaf).map((one) => wide(one, level)))));
  let low = 0, over = MOST_STRETCH; // the highest level with which all branches fit: up to 1 the long texts are cut
  for (let k = 0; k < 12; k += 1) {
    const middle = (low + over) / 2;
    if (longest(middle) <= room) low = middle;
    else over = middle;
  }
  const right = Math.max(room, longest(low));
  place(tree, 0, boxes, (branch) => wide(branch, low), right, size);
  return { boxes, width: right + size.ends, height };
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

// Gives every branch its height: leaves below each other, each branch beside the middle of its own. Returns the end.
function stack(branch, top, high, boxes) {
  const mine = high(branch), above = mine < THICK ? LABEL_HIGH : 0;
  if (!branch.children.length) {
    boxes.set(branch, { top: top + above, bottom: top + above + mine });
    return top + above + mine + BETWEEN;
  }
  let end = top;
  for (const child of branch.children) end = stack(child, end, high, boxes);
  end = Math.max(end, top + above + mine + BETWEEN);
  const middle = sum(branch.children.map((child) => child.answers.length * (boxes.get(child).top + boxes.get(child).bottom))) / (2 * branch.answers.length);
  const begin = Math.max(top + above, Math.min(middle - mine / 2, end - BETWEEN - mine));
  boxes.set(branch, { top: begin, bottom: begin + mine });
  return end;
}

function place(branch, x, boxes, wide, right, size) {
  const box = boxes.get(branch);
  const x1 = x + (branch.parent ? size.curve : 0);
  Object.assign(box, { x, x1, x2: branch.children.length ? x + wide(branch) : right });
  if (!branch.parent) box.from = { top: box.top, bottom: box.bottom };
  let at = box.top;
  for (const child of branch.children) {
    const part = ((box.bottom - box.top) * child.answers.length) / branch.answers.length;
    boxes.get(child).from = { top: at, bottom: at + part };
    at += part;
    place(child, box.x2, boxes, wide, right, size);
  }
}

// The lines of text that a branch of this height has room for; a single one if it is thin.
// The stem shows the end of its text, because that is where the replies part.
function linesIn(branch, { top, bottom }) {
  const room = Math.floor((bottom - top - 4) / LINE_HIGH);
  if (!branch.text.trim()) return [opening(branch)];
  const isRest = !/^\s*\n/.test(branch.text); // whether it begins within a line
  const lines = withoutFence(branch).replace(/^\s*\n/, "").trimEnd().split("\n");
  if (room < Math.min(3, lines.length)) return [opening(branch)];
  if (lines.length <= room) return withoutIndent(lines, isRest);
  return branch.parent ? [...withoutIndent(lines.slice(0, room - 1), isRest), "\u22ee"] : ["\u22ee", ...withoutIndent(lines.slice(1 - room), false)];
}

// Removes the indentation that all lines have, except for the rest of a line, which has none.
function withoutIndent(lines, isRest) {
  const whole = lines.filter((line, k) => line.trim() && (k || !isRest));
  const indent = Math.min(99, ...whole.map((line) => line.match(/^\s*/)[0].length));
  return lines.map((line, k) => (k || !isRest ? line.slice(indent) : line.trimStart()));
}

const clipped = (line, most) => (line.length <= most ? line : `${line.slice(0, Math.max(0, most - 1))}\u2026`);
