// The tree of a task's replies: a branch is text that its agents wrote alike, up to where they part.

const MOST_LEAVES = 22; // of a picture; beyond it, rare branches that part at the same place are drawn as one
const MOST_PIECES = 20_000; // of a reply; the rest of a longer one counts as one piece

// A text as words, numbers, whitespace and single other characters.
function pieces(text) {
  const found = text.match(/[\p{L}_][\p{L}\p{N}_]*|\p{N}+|\n[^\S\n]*|[^\S\n]+|[^\p{L}\p{N}_\s]/gu) ?? [];
  return found.length <= MOST_PIECES ? found : [...found.slice(0, MOST_PIECES), found.slice(MOST_PIECES).join("")];
}

// The tree of replies. `replies`: [number of the answer, text] of each. `passed`: whether an answer passed.
function replyTree(replies, passed) {
  const byText = new Map();
  for (const [k, text] of replies) {
    if (!byText.has(text)) byText.set(text, { pieces: pieces(text), answers: [] });
    byText.get(text).answers.push(k);
  }
  return branch([...byText.values()], 0, null, passed);
}

function branch(groups, from, parent, passed) {
  let to = from;
  const [first] = groups;
  while (to < first.pieces.length && groups.every((group) => group.pieces[to] === first.pieces[to])) to += 1;
  const answers = groups.flatMap((group) => group.answers).sort((a, b) => a - b);
  const made = {
    parent, answers, text: first.pieces.slice(from, to).join(""), replies: groups.length, children: [], ways: 0, parts: [],
    share: answers.filter(passed).length / answers.length,
  };
  if (groups.length > 1) {
    const parts = new Map(); // by the first piece that differs; undefined where a reply ends
    for (const group of groups) {
      const next = group.pieces[to];
      if (!parts.has(next)) parts.set(next, []);
      parts.get(next).push(group);
    }
    made.children = [...parts.values()].map((part) => branch(part, to, made, passed)).sort(inOrder);
    made.ways = made.children.length;
  }
  return made;
}

// Branches that pass come first; of those alike, the larger ones.
const inOrder = (a, b) => b.share - a.share || b.answers.length - a.answers.length || (a.text < b.text ? -1 : 1);

const leavesOf = (branch) => (branch.children.length ? branch.children.flatMap(leavesOf) : [branch]);
const branchesOf = (branch) => [branch, ...branch.children.flatMap(branchesOf)];
const pathTo = (branch) => (branch.parent ? [...pathTo(branch.parent), branch] : [branch]);

// A copy with at most MOST_LEAVES leaves: at each fork, the branches of fewer than `rare` answers become one, which
// keeps them as its `parts`.
function drawable(tree, most = MOST_LEAVES) {
  for (let rare = 1; ; rare += 1) {
    const copy = bundled(tree, null, rare);
    if (leavesOf(copy).length <= most || rare > tree.answers.length) return copy;
  }
}

function bundled(branch, parent, rare) {
  const copy = { ...branch, parent };
  const small = branch.children.filter((child) => child.answers.length < rare);
  if (small.length < 2 && !small.some((child) => child.children.length)) {
    copy.children = branch.children.map((child) => bundled(child, copy, rare));
  } else if (small.length === branch.children.length) { // nothing else is left: the branch ends here
    Object.assign(copy, { children: [], parts: small });
  } else {
    const rest = branch.children.filter((child) => child.answers.length >= rare);
    copy.children = [...rest.map((child) => bundled(child, copy, rare)), bundle(small, copy)].sort(inOrder);
  }
  return copy;
}

function bundle(parts, parent) {
  const answers = parts.flatMap((part) => part.answers).sort((a, b) => a - b);
  const share = parts.reduce((sum, part) => sum + part.share * part.answers.length, 0) / answers.length;
  const replies = parts.reduce((sum, part) => sum + part.replies, 0);
  return { parent, answers, share, replies, text: "", children: [], ways: parts.length, parts };
}

// The text of a branch without the fence at the end of a reply, unless it is only that.
const withoutFence = ({ text, children }) => (children.length ? text : text.replace(/(\S)\s*\n\s*```\s*$/, "$1"));

// The text of a branch on one line, beginning where it differs from the others.
function opening(branch) {
  if (branch.parts.length && !branch.text) return `${branch.replies} different replies`;
  if (!branch.text) return branch.parent ? "(ends here)" : "(they part at once)";
  return withoutFence(branch).replace(/^\s*\n\s*/, "\u21b5 ").trim().replace(/\s*\n\s*/g, " \u21b5 ").replace(/\s+/g, " ") || "(whitespace)";
}
