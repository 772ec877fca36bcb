// The names of topics on the map, where most of their documents are: those of clusters from afar, those of their parts
// for who comes nearer. No name covers another; the larger topic's stands.

const MOST_NAMES = 60; // shown at a time
const FIRST_NEAR = 1.35; // times as near as at the beginning: the names of the largest parts are shown
const LAST_NEAR = 3.2; // and those of the smallest
const FONTS = ["600 14px system-ui, sans-serif", "13px system-ui, sans-serif"];
const HIGH = [22, 20];

let names = [];

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
  byId("names").replaceChildren(...names.map((one) => one.span));
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

// Puts the names where their topics are seen now.
function placeNames(width, height) {
  const taken = [];
  const at = new Float32Array(3);
  for (const one of names) {
    const [high, half] = [HIGH[one.level], one.wide / 2];
    let box = null;
    if (taken.length < MOST_NAMES && isNamed(one)) {
      project(one.place, width, height, at);
      const isIn = at[2] > 0.1 && at[0] > 0 && at[0] < width && at[1] > 0 && at[1] < height;
      if (isIn && HOME.distance / at[2] >= one.near && half * 2 < width) {
        const left = Math.max(2, Math.min(width - one.wide - 2, at[0] - half));
        const top = Math.max(2, Math.min(height - high - 2, at[1] - high / 2));
        box = [left, top, left + one.wide, top + high];
        if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) box = null;
      }
    }
    if (one.span.hidden !== !box) one.span.hidden = !box;
    if (!box) continue;
    taken.push(box);
    const [start, end] = fadeRange();
    const far = Math.min(1, Math.max(0, (at[2] - start) / (end - start)));
    one.span.style.transform = `translate(${box[0].toFixed(1)}px, ${box[1].toFixed(1)}px)`;
    one.span.style.width = `${one.wide}px`;
    one.span.style.opacity = (1 - 0.45 * far).toFixed(2);
  }
}
