// Keys, pointers and the wheel.

const STEP = 0.08; // of a turn by a key
const NEAR = 9; // pixels from a point at which it counts as meant
const STILL = 5; // pixels within which a finger does not move

const moves = {
  ArrowLeft: () => turn(-STEP, 0),
  ArrowRight: () => turn(STEP, 0),
  ArrowUp: () => turn(0, -STEP),
  ArrowDown: () => turn(0, STEP),
  "+": () => zoom(0.8),
  "=": () => zoom(0.8),
  "-": () => zoom(1.25),
};

const keys = {
  0: showAll,
  "/": () => byId("search").select(),
  "?": () => byId("help").showModal(),
  a: () => setLasso(!lasso.isOn),
  v: chooseView,
  l: () => { if (facts.links) byId("links").checked = !byId("links").checked; },
};

// Closes one thing: what was begun last.
function goBack(target) {
  const isIn = target === byId("search");
  if (lasso.isOn) setLasso(false);
  else if (isIn && byId("search").value) {
    byId("search").value = "";
    search();
  } else {
    if (state.chosen < 0 && state.area) chooseArea(null);
    choose(-1);
    canvas.focus();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || !state.coloured) return;
  if (event.key === "Escape") return goBack(event.target);
  const isTyping = event.target.matches("input[type=search], select");
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Arrows scroll the lists where one of their buttons has the focus.
  if (isTyping || (event.key.startsWith("Arrow") && event.target !== canvas && event.target !== document.body)) return;
  if (name === "Enter" && event.target === canvas && state.chosen >= 0) openDocument(state.chosen);
  const act = moves[name] || keys[name];
  if (!act) return;
  event.preventDefault();
  act();
  if (moves[name]) moved();
  else redraw();
});

// The point that is meant by a place on the view, or -1. What does not match is not meant.
function rowAt(x, y) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const { places, seen, visible, coloured, matches } = state;
  project(places, width, height, seen);
  let best = -1;
  let least = Infinity;
  for (let row = 0; row < count; row++) {
    const depth = seen[row * 3 + 2];
    if (depth < 0.05 || !visible[coloured.groups[row]] || (matches && !matches[row])) continue;
    const far = Math.hypot(seen[row * 3] - x, seen[row * 3 + 1] - y);
    // Of points that lie on each other the nearest to the eye is seen.
    if (far < Math.max(NEAR, sizeOf(depth) / 2) && far + depth * 2 < least) [best, least] = [row, far + depth * 2];
  }
  return best;
}

// One pointer turns, or draws an area; two zoom and move.
const pointers = new Map();
let travelled = 0;

canvas.addEventListener("pointerdown", (event) => {
  if (!state.coloured) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  if (pointers.size === 1) travelled = 0;
  if (lasso.isOn) lasso.path = pointers.size === 1 ? [[event.offsetX, event.offsetY]] : null;
});

canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  const now = [event.offsetX, event.offsetY];
  if (!before) {
    if (event.pointerType === "mouse" && !lasso.isOn) hover(now);
    return;
  }
  const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
  travelled += Math.abs(dx) + Math.abs(dy);
  pointers.set(event.pointerId, now);
  if (lasso.isOn && pointers.size === 1 && lasso.path) return drawLasso(now);
  const least = Math.min(canvas.clientWidth, canvas.clientHeight);
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    zoom(Math.hypot(before[0] - other[0], before[1] - other[1]) / Math.max(1, Math.hypot(now[0] - other[0], now[1] - other[1])));
    shift(-dx / least, dy / least);
  } else if (event.shiftKey || event.buttons === 4) {
    shift((-2 * dx) / least, (2 * dy) / least);
  } else {
    turn((dx / least) * 3, (dy / least) * 3);
  }
  state.hovered = -1;
  moved();
});

function lift(event) {
  pointers.delete(event.pointerId);
  if (!lasso.isOn) return;
  const { path } = lasso;
  const isDrawn = event.type === "pointerup" && path && travelled > STILL;
  lasso.path = null;
  byId("line").setAttribute("points", "");
  if (!isDrawn) return;
  setLasso(false);
  chooseArea(cornersOf(path));
}

canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerup", (event) => {
  const wasLasso = lasso.isOn;
  lift(event);
  if (wasLasso || travelled > STILL || event.button !== 0 || !state.coloured) return;
  const row = rowAt(event.offsetX, event.offsetY);
  // The first click shows the card, the next one on the same point opens the document.
  if (row >= 0 && row === state.chosen) openDocument(row);
  else choose(row);
});
canvas.addEventListener("pointerleave", () => hover(null));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { clientWidth: width, clientHeight: height } = canvas;
  const half = Math.min(width, height) / 2;
  const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 500)));
  zoom(factor, (event.offsetX - width / 2) / half, (height / 2 - event.offsetY) / half);
  moved();
}, { passive: false });

let isLooking = false;
function hover(at) {
  if (isLooking || !state.coloured) return;
  isLooking = true;
  requestAnimationFrame(() => {
    isLooking = false;
    const row = at ? rowAt(...at) : -1;
    if (row === state.hovered) return;
    state.hovered = row;
    canvas.classList.toggle("on", row >= 0);
    redraw();
  });
}
