// The names of topics on the map, where most of their documents are: those of clusters from afar, those of their parts
// for those who come nearer, at last the titles of documents. No name covers another; the larger topic's stands.

const MOST_NAMES = 60; // shown at a time
const FIRST_NEAR = 1.4; // times as near as at the beginning: the names of the largest parts are shown
const LAST_NEAR = 3.2; // and those of the smallest
const FONTS = ["600 14px system-ui, sans-serif", "13px system-ui, sans-serif"];
const HIGH = [22, 20];

const TITLES_NEAR = 2.2; // times as near as at the beginning: documents have their titles
const MOST_TITLES = 24;

const TOOLS = [272, 52]; // pixels that the buttons take at the lower left

let names = [];
let titles = [];

// The topics as elements; their places as project() reads them.
function makeNames() {
  const pen = document.createElement("canvas").getContext("2d");
  const parts = facts.topics.filter((one) => one.part).length;
  let rank = 0;
  names = facts.topics.map((one) => {
    const level = one.part ? 1 : 0;
    const span = element("span", one.name, { dir: "auto", hidden: true, className: level ? "part" : "" });
    pen.font = FONTS[level];
    return {
      ...one,
      span,
      level,
      wide: Math.min(220, pen.measureText(one.name).width) + 12,
      near: level ? FIRST_NEAR + ((LAST_NEAR - FIRST_NEAR) * rank++) / Math.max(1, parts - 1) : 0,
      place: [one.x, one.y, one.z].map((at) => (at + 1) * 32767.5),
    };
  });
  titles = Array.from({ length: MOST_TITLES }, () => element("span", "", { dir: "auto", hidden: true, className: "title" }));
  byId("names").replaceChildren(...names.map((one) => one.span), ...titles);
}

// How many of each cluster's documents match what was asked for; null if nothing was.
function countMatches() {
  if (!state.matches) return null;
  const counts = new Uint32Array(facts.clusters.length);
  for (let row = 0; row < count; row++) counts[state.groups.clusters[row]] += state.matches[row];
  return counts;
}

function isNamed(one) {
  const { coloured, visible } = state;
  if (coloured.kind === "clusters" && !visible[coloured.groupOf[one.cluster]]) return false;
  return !state.matched || (state.matched[one.cluster] > 0 && !one.part);
}

const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// The box of a name of that width around a place, within the view.
function boxAround([x, y], wide, high, width, height) {
  const left = Math.max(2, Math.min(width - wide - 2, x - wide / 2));
  const top = Math.max(2, Math.min(height - high - 2, y - high / 2));
  return [left, top, left + wide, top + high];
}

function putName(span, box, depth) {
  const [start, end] = fadeRange();
  const far = Math.min(1, Math.max(0, (depth - start) / (end - start)));
  span.style.transform = `translate(${box[0].toFixed()}px, ${box[1].toFixed()}px)`; // between pixels it is blurred
  span.style.width = `${(box[2] - box[0]).toFixed(1)}px`;
  span.style.opacity = (1 - 0.45 * far).toFixed(2);
}

// Puts the names where their topics are seen now.
function placeNames(width, height) {
  const taken = [[0, height - TOOLS[1], TOOLS[0], height]];
  const at = new Float32Array(3);
  for (const one of names) {
    let box = null;
    if (taken.length < MOST_NAMES && one.wide < width && isNamed(one)) {
      project(one.place, width, height, at);
      // The view's nearness counts, and a little that of the name itself: what is in front is nearer.
      const isNear = at[2] > 0.1 && HOME.distance / Math.sqrt(camera.distance * at[2]) >= one.near;
      if (isNear && isInView(at, width, height)) box = boxAround(at, one.wide, HIGH[one.level], width, height);
      if (box && taken.some((other) => meet(box, other))) box = null;
    }
    if (one.span.hidden !== !box) one.span.hidden = !box;
    if (!box) continue;
    taken.push(box);
    putName(one.span, box, at[2]);
  }
  placeTitles(taken, width, height);
}

const isInView = ([x, y], width, height) => x > 0 && y > 0 && x < width && y < height;

// From very near, the documents in front have their titles beside them.
function placeTitles(taken, width, height) {
  const rows = state.texts && HOME.distance / camera.distance > TITLES_NEAR ? findFront(width, height) : [];
  let next = 0;
  for (const row of rows) {
    if (next === titles.length) break;
    if (row === state.chosen) continue; // its card says it
    const [x, y, depth] = state.seen.subarray(row * 3, row * 3 + 3);
    const span = titles[next];
    const text = state.texts.titles[row];
    if (span.textContent !== text) span.textContent = text;
    const wide = Math.min(200, 7.5 * text.length + 12); // about; a longer title ends in dots
    const left = x + sizeOf(depth) / 2 + 2;
    const box = [left, y - 10, left + wide, y + 10];
    if (box[2] > width || taken.some((other) => meet(box, other))) continue;
    taken.push(box);
    span.hidden = false;
    putName(span, box, depth);
    next++;
  }
  for (; next < titles.length; next++) titles[next].hidden = true;
}

// Rows of the points in view that are nearest to the eye.
function findFront(width, height) {
  const { places, seen, visible, coloured, matches } = state;
  project(places, width, height, seen);
  const found = [];
  for (let row = 0; row < count; row++) {
    const depth = seen[row * 3 + 2];
    if (depth < 0.1 || depth > 1.3 * camera.distance || !visible[coloured.groups[row]] || (matches && !matches[row])) continue;
    if (isInView([seen[row * 3], seen[row * 3 + 1]], width, height)) found.push(row);
  }
  return found.sort((a, b) => seen[a * 3 + 2] - seen[b * 3 + 2]).slice(0, 4 * MOST_TITLES);
}
