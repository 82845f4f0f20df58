// A line-by-line unified diff of two texts.

const AROUND = 3; // unchanged lines shown before and after a change
const MOST_PAIRS = 4_000_000; // pairs of lines to compare: bounds time and memory

// [sign, line] for all lines: "-" only in the first text, "+" only in the second. null if the texts are too long.
function compared(first, second) {
  let start = 0, end = 0;
  while (start < first.length && start < second.length && first[start] === second[start]) start += 1;
  while (end < first.length - start && end < second.length - start && first.at(-1 - end) === second.at(-1 - end)) end += 1;
  const a = first.slice(start, first.length - end), b = second.slice(start, second.length - end);
  if (a.length * b.length > MOST_PAIRS) return null;
  const wide = b.length + 1;
  const common = new Uint32Array((a.length + 1) * wide); // lengths of the longest common subsequences of the remaining lines
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * wide + j] = a[i] === b[j] ? common[(i + 1) * wide + j + 1] + 1
        : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1]);
    }
  }
  const lines = first.slice(0, start).map((line) => [" ", line]);
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push([" ", a[i]]); i += 1; j += 1; }
    else if (j === b.length || (i < a.length && common[(i + 1) * wide + j] >= common[i * wide + j + 1])) { lines.push(["-", a[i]]); i += 1; }
    else { lines.push(["+", b[j]]); j += 1; }
  }
  return [...lines, ...first.slice(first.length - end).map((line) => [" ", line])];
}

// The lines of a unified diff without file names. [] if the texts are equal; null if they are too long.
function unified(first, second) {
  const lines = compared(first, second);
  if (lines === null) return null;
  const near = new Uint8Array(lines.length);
  lines.forEach(([sign], k) => { if (sign !== " ") near.fill(1, Math.max(0, k - AROUND), k + AROUND + 1); });
  const shown = [];
  let left = 1, right = 1;
  for (let k = 0; k < lines.length; k += 1) {
    if (near[k] && !near[k - 1]) {
      const part = lines.slice(k, near.indexOf(0, k) < 0 ? undefined : near.indexOf(0, k));
      const count = (other) => part.filter(([sign]) => sign !== other).length;
      shown.push(`@@ -${left},${count("+")} +${right},${count("-")} @@`);
    }
    if (near[k]) shown.push(lines[k][0] + lines[k][1]);
    left += lines[k][0] !== "+";
    right += lines[k][0] !== "-";
  }
  return shown;
}

const linesOf = (text) => text.replace(/\n+$/, "").split("\n");

// Colours lines without an element per line. Browsers without CSS highlights still show the signs.
function colourDiff(place, lines) {
  if (!CSS.highlights) return;
  const ranges = { "+": [], "-": [], "@": [] };
  let at = 0;
  for (const line of lines) {
    if (line[0] in ranges) {
      const range = new StaticRange({ startContainer: place.firstChild, startOffset: at, endContainer: place.firstChild, endOffset: at + line.length });
      ranges[line[0]].push(range);
    }
    at += line.length + 1;
  }
  for (const [sign, name] of [["+", "added"], ["-", "removed"], ["@", "hunk"]]) CSS.highlights.set(name, new Highlight(...ranges[sign]));
}
