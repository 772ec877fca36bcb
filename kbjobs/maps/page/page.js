// The page: how it begins, what a frame is made of, what moves by itself, and what a word in the search box does.

const FLIGHT = 600; // milliseconds
const MANY = 20000; // points, of which a browser without a graphics card may draw too few frames a second
const SLOW_FRAME = 80; // milliseconds
const FAST_FRAME = 30;
const REST = 200; // milliseconds without movement, after which all points are drawn
const FIRST_TURN = 5000; // milliseconds; what moves longer by itself would need a button that stops it (WCAG 2.2.2)

let drawer = null;
let flight = 0; // the number of the last flight: a newer one ends it
let isWaiting = false; // for the next frame
let isTurning = false;
let isTouched = false; // before or during the first turn
let isDrawn = false;
let thinning = 1; // while the view moves, one point of so many is drawn
let lastView = "";
let rest = 0; // the timer of the next full frame

function tellTrouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
}

function say(text) {
  byId("said").textContent = text;
}

// -- drawing --

// One point of how many this frame draws: fewer while the view moves and frames are slow, all as soon as it rests.
function paceFrame() {
  if (count < MANY) return 1;
  const view = [camera.yaw, camera.pitch, camera.distance, ...camera.target].join();
  const isMoving = isDrawn && view !== lastView;
  lastView = view;
  if (!isMoving) return 1;
  const began = performance.now();
  requestAnimationFrame(() => {
    const took = performance.now() - began;
    if (took > SLOW_FRAME) thinning = Math.min(16, thinning * 2);
    else if (took < FAST_FRAME) thinning = Math.max(1, thinning / 2);
  });
  clearTimeout(rest);
  if (thinning > 1) rest = setTimeout(redraw, REST);
  return thinning;
}

function draw() {
  isWaiting = false;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return;
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    [canvas.width, canvas.height] = [wide, high];
    fitHome(state.places, width, height);
    if (state.isHome) Object.assign(camera, { distance: HOME.distance, target: [...HOME.target] });
    if (isDrawn) measureCard();
  }
  drawer.draw(width, height, ratio, state.visible, byId("links").checked, paceFrame());
  placeNames(width, height);
  placeCard(width, height);
  placeHover(width, height);
  if (state.texts) noteView();
  if (!isDrawn) {
    isDrawn = true;
    document.documentElement.dataset.drawn = drawer.name;
    requestAnimationFrame(() => performance.mark("drawn"));
  }
}

function redraw() {
  if (!drawer) return;
  if (!isWaiting) requestAnimationFrame(draw);
  isWaiting = true;
}

// The reader has moved the view.
function moved() {
  flight++;
  canvas.classList.remove("flying");
  state.isHome = false;
  redraw();
}

function colour() {
  const kind = byId("coloured").value;
  state.coloured = groupsOf(kind, state.groups[kind]);
  state.visible.fill(1);
  paint();
  list();
}

// Tells the drawer the group of each point, and which of them do not match.
function paint() {
  const { coloured, matches } = state;
  drawer.group(matches ? coloured.groups.map((group, row) => (matches[row] ? group : group + DIM)) : coloured.groups);
  redraw();
}

function list() {
  listGroups(state.coloured.shown, state.visible, redraw);
  redraw();
}

// -- what moves by itself --

// A slow turn shows once that the map has depth. It ends where the map is at home, or wherever it is at the first touch.
function turnOnce() {
  const began = performance.now();
  isTurning = true;
  canvas.classList.add("turning");
  const step = (now) => {
    if (!isTurning) return;
    const part = Math.min(1, Math.max(0, (now - began) / FIRST_TURN));
    camera.yaw = HOME.yaw - SWING * (1 - part * part * (3 - 2 * part));
    draw();
    if (part < 1) requestAnimationFrame(step);
    else stopTurn();
  };
  requestAnimationFrame(step);
}

function stopTurn() {
  isTouched = true;
  if (!isTurning) return;
  isTurning = false;
  canvas.classList.remove("turning");
  if (camera.yaw !== HOME.yaw) state.isHome = false;
}

for (const touch of ["pointerdown", "wheel", "keydown", "focusin"]) {
  document.addEventListener(touch, stopTurn, { capture: true, passive: true });
}
stillness.addEventListener("change", stopTurn);

function flyTo(target, distance, yaw = camera.yaw, pitch = camera.pitch) {
  const from = { target: [...camera.target], distance: camera.distance, yaw: camera.yaw, pitch: camera.pitch };
  const began = performance.now();
  const own = ++flight;
  canvas.classList.add("flying");
  const step = (now) => {
    if (own !== flight) return;
    const part = stillness.matches ? 1 : Math.min(1, Math.max(0, (now - began) / FLIGHT));
    const eased = part * part * (3 - 2 * part);
    const between = (a, b) => (part < 1 ? a + (b - a) * eased : b);
    camera.target = from.target.map((value, axis) => between(value, target[axis]));
    camera.distance = between(from.distance, distance);
    [camera.yaw, camera.pitch] = [between(from.yaw, yaw), between(from.pitch, pitch)];
    if (part === 1) canvas.classList.remove("flying");
    draw();
    if (part < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function visit(row) {
  choose(row);
  const kind = state.coloured.groups[row];
  if (!state.visible[kind]) {
    state.visible[kind] = 1;
    list();
  }
  state.isHome = false;
  flyTo([0, 1, 2].map((axis) => state.places[row * 3 + axis] / 32767.5 - 1), Math.min(camera.distance, 1.2));
}

function showAll() {
  const turns = Math.round((camera.yaw - HOME.yaw) / (2 * Math.PI)) * 2 * Math.PI;
  camera.yaw -= turns; // the short way back
  state.isHome = true;
  flyTo(HOME.target, HOME.distance, HOME.yaw, HOME.pitch);
}

// -- what was asked for --

function search() {
  const { texts, area } = state;
  if (!texts) return null;
  const found = find(texts, byId("search").value, area);
  state.matches = found ? found.matches : null;
  state.matched = countMatches();
  listResults(texts, found ? found.rows : [], visit);
  byId("found").textContent = found ? `${counted(found.rows.length, "document")} ${area ? "in the area" : "found"}` : "";
  paint();
  return found;
}

byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    const found = search();
    if (found && found.rows.length) visit(found.rows[0]);
  } else if (event.key === "ArrowDown") {
    byId("results").querySelector("button")?.focus();
    event.preventDefault();
  }
});

// -- the beginning --

function nameThings() {
  const documents = counted(count, "document");
  const topics = counted(facts.clusters.length, "topic");
  const share = facts.explained_variance ? facts.explained_variance.reduce((sum, one) => sum + one, 0) : null;
  if (!facts.links) byId("links-row").hidden = true;
  byId("links-label").textContent = `Lines for ${counted(facts.links, "link")}`;
  byId("counts").textContent = [
    documents,
    topics,
    `${facts.model}, ${facts.method.toUpperCase()}${share === null ? "" : `, ${Math.round(share * 100)}% of the variance`}`,
  ].join(" · ");
  canvas.setAttribute("aria-label", `Map of ${facts.title}: ${documents} in ${topics}`);
}

function listen() {
  const onClick = (id, act) => byId(id).addEventListener("click", act);
  byId("coloured").addEventListener("change", colour);
  byId("links").addEventListener("change", redraw);
  onClick("leave", () => {
    choose(-1);
    canvas.focus();
  });
  onClick("closer", () => { zoom(0.8); moved(); });
  onClick("farther", () => { zoom(1.25); moved(); });
  onClick("home", showAll);
  onClick("lasso", () => setLasso(!lasso.isOn));
  onClick("clear-area", () => {
    chooseArea(null);
    byId("search").focus();
  });
  onClick("keys", () => byId("help").showModal());
  onClick("here", copyLink);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    tellTrouble("The browser has dropped the graphics. Reload the page to see the map.");
  });
  new ResizeObserver(draw).observe(canvas);
  darkness.addEventListener("change", list);
  addEventListener("hashchange", () => {
    if (location.hash !== told) followFragment();
  });
}

async function start() {
  const isLinked = location.hash.length > 1;
  const turns = !isLinked && !stillness.matches;
  Object.assign(state, await readNumbers());
  const { places, links } = state;
  state.seen = new Float32Array(places.length);
  drawer = drawByWebGL(canvas, places, links) || drawByCanvas(canvas, places, links);
  const place = readFragment().place;
  if (place) Object.assign(camera, place);
  if (turns) camera.yaw -= SWING;
  state.isHome = !place;
  nameThings();
  colour();
  makeNames();
  listen();
  state.texts = await readTexts();
  if (isLinked) followFragment();
  else if (byId("search").value) search();
  document.documentElement.dataset.ready = "yes";
  redraw();
  if (turns && !isTouched) turnOnce();
  else if (turns) state.isHome = false;
}

start().catch((error) => tellTrouble(`The map cannot be shown: ${error.message}. The points are in the JSON file beside it.`));
