// The view as a fragment of the address, so that a link shows it again: from where, coloured by what, what was asked
// for, and which document was chosen. A document is named by a hash of its texts, since its row changes with the map.

const KINDS = ["clusters", "sources", "languages"];
const WAIT = 400; // milliseconds after the last change: browsers allow only so many changes of an address

let told = location.hash;
let timer = 0;

// FNV-1a, which needs no more than a loop.
function hashOf(row) {
  let hash = 0x811c9dc5;
  for (const char of `${state.texts.urls[row]}\n${state.texts.titles[row]}`) {
    hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function describeView() {
  const parts = [];
  if (!state.isHome) {
    const numbers = [camera.yaw % (2 * Math.PI), camera.pitch, camera.distance, ...camera.target];
    parts.push(`at=${numbers.map((one) => Number(one.toFixed(4))).join(",")}`);
  }
  if (state.coloured.kind !== KINDS[0]) parts.push(`by=${state.coloured.kind}`);
  const asked = byId("search").value.trim();
  if (asked) parts.push(`find=${encodeURIComponent(asked)}`);
  if (state.chosen >= 0 && state.texts) parts.push(`doc=${hashOf(state.chosen)}`);
  return parts.length ? `#${parts.join("&")}` : "";
}

// Writes the view into the address once it stands still.
function noteView() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!state.texts || canvas.matches(".turning, .flying")) return;
    const now = describeView();
    byId("here").href = now || "#";
    if (now === told) return;
    told = now;
    try {
      history.replaceState(null, "", now || location.pathname + location.search);
    } catch {
      // A browser that keeps the address of a file as it is still has the link to this view.
    }
  }, WAIT);
}

// The numbers of a camera, or null: whoever made the link may have written anything.
function readPlace(text) {
  const numbers = (text || "").split(",").map(Number);
  if (numbers.length !== 6 || !text || !numbers.every(Number.isFinite)) return null;
  const [yaw, pitch, distance, ...target] = numbers;
  return {
    yaw: yaw % (2 * Math.PI),
    pitch: Math.min(1.55, Math.max(-1.55, pitch)),
    distance: Math.min(MOST_DISTANCE, Math.max(LEAST_DISTANCE, distance)),
    target: target.map((one) => Math.min(1.5, Math.max(-1.5, one))),
  };
}

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  return {
    place: readPlace(given.get("at")),
    kind: KINDS.includes(given.get("by")) ? given.get("by") : KINDS[0],
    asked: (given.get("find") || "").slice(0, 200),
    document: /^[0-9a-f]{8}$/.test(given.get("doc") || "") ? given.get("doc") : "",
  };
}

function findDocument(hash) {
  for (let row = 0; hash && row < count; row++) if (hashOf(row) === hash) return row;
  return -1;
}

// Shows what the address says, once the texts are there.
function followFragment() {
  const wanted = readFragment();
  told = location.hash;
  if (wanted.kind !== state.coloured.kind) {
    byId("coloured").value = wanted.kind;
    colour();
  }
  byId("search").value = wanted.asked;
  Object.assign(camera, wanted.place || { ...HOME, target: [...HOME.target] });
  state.isHome = !wanted.place;
  search();
  choose(findDocument(wanted.document));
}

async function copyLink() {
  const link = new URL(byId("here").getAttribute("href"), location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    say("The link to this view was copied.");
  } catch {
    say("The address bar now holds the link to this view.");
  }
}
