// The page: what is done at a key, a click, a word in the search box.

const NEAR = 9; // pixels from a point at which it counts as meant
const STEP = 0.08; // of a turn by a key
const FLIGHT = 600; // milliseconds

const byId = (id) => document.getElementById(id);
const canvas = byId("map");

function tellTrouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
}

async function start() {
  const { places, groups, links } = await readNumbers();
  const seen = new Float32Array(places.length);
  const visible = new Float32Array(MOST_GROUPS).fill(1);
  let drawer = drawByWebGL(canvas, places, links) || drawByCanvas(canvas, places, links);
  let texts = null;
  let lowered = null;
  let coloured = null;
  let chosen = -1;
  let hovered = -1;
  let flight = 0;
  let waiting = false;
  let isDrawn = false;

  // -- drawing --

  function draw() {
    waiting = false;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    drawer.draw(width, height, ratio, visible, byId("links").checked);
    placeMark(width, height);
    if (!isDrawn) {
      isDrawn = true;
      document.documentElement.dataset.drawn = drawer.name;
      requestAnimationFrame(() => performance.mark("drawn"));
    }
  }

  function redraw() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  // The chosen or hovered document's title stands beside its point.
  function placeMark(width, height) {
    const row = hovered >= 0 ? hovered : chosen;
    const box = byId("hover");
    box.hidden = row < 0 || !texts;
    if (box.hidden) return;
    const at = project(places.subarray(row * 3, row * 3 + 3), width, height, new Float32Array(3));
    box.hidden = at[2] <= 0.05 || at[0] < 0 || at[1] < 0 || at[0] > width || at[1] > height;
    box.firstElementChild.textContent = texts.titles[row];
    box.lastElementChild.textContent = texts.snippets[row];
    const left = Math.max(0, Math.min(at[0] + 8, width - box.offsetWidth));
    const above = at[1] + 8 + box.offsetHeight > height ? at[1] - 8 - box.offsetHeight : at[1] + 8;
    box.style.transform = `translate(${left}px, ${Math.max(0, above)}px)`;
  }

  function colour() {
    const kind = byId("coloured").value;
    coloured = groupsOf(kind, groups[kind]);
    visible.fill(1);
    drawer.group(coloured.groups);
    list();
  }

  function list() {
    listGroups(coloured.shown, visible, redraw);
    redraw();
  }

  // -- one document --

  function rowAt(x, y) {
    const { clientWidth: width, clientHeight: height } = canvas;
    project(places, width, height, seen);
    let best = -1;
    let least = Infinity;
    for (let row = 0; row < count; row++) {
      const depth = seen[row * 3 + 2];
      if (depth < 0.05 || !visible[coloured.groups[row]]) continue;
      const far = Math.hypot(seen[row * 3] - x, seen[row * 3 + 1] - y);
      // Of points that lie on each other the nearest to the eye is seen.
      if (far < Math.max(NEAR, sizeOf(depth) / 2) && far + depth * 2 < least) [best, least] = [row, far + depth * 2];
    }
    return best;
  }

  function choose(row) {
    chosen = row;
    byId("chosen").hidden = row < 0 || !texts;
    if (row >= 0 && texts) {
      byId("chosen-title").textContent = texts.titles[row];
      byId("chosen-snippet").textContent = texts.snippets[row];
      const told = [facts.sources[groups.sources[row]].name, facts.clusters[groups.clusters[row]], facts.languages[groups.languages[row]]];
      byId("chosen-place").textContent = told.filter(Boolean).join(" · ");
      const url = followable(texts.urls[row]);
      byId("chosen-link").hidden = !url;
      if (url) byId("chosen-link").href = url;
      else byId("chosen-link").removeAttribute("href");
    }
    redraw();
  }

  function followable(url) {
    try {
      return ["http:", "https:", "file:"].includes(new URL(url).protocol) ? url : "";
    } catch {
      return "";
    }
  }

  function open(row) {
    const url = texts && followable(texts.urls[row]);
    if (url) window.open(url, "_blank", "noopener,noreferrer");
  }

  function flyTo(target, distance) {
    const from = { target: [...camera.target], distance: camera.distance };
    const began = performance.now();
    const own = ++flight; // a newer flight ends an older one
    canvas.classList.add("flying");
    const step = (now) => {
      if (own !== flight) return;
      const part = stillness.matches ? 1 : Math.min(1, Math.max(0, (now - began) / FLIGHT));
      const eased = part * part * (3 - 2 * part);
      camera.target = from.target.map((value, axis) => value + (target[axis] - value) * eased);
      camera.distance = from.distance + (distance - from.distance) * eased;
      draw();
      if (part < 1) requestAnimationFrame(step);
      else canvas.classList.remove("flying");
    };
    requestAnimationFrame(step);
  }

  function visit(row) {
    choose(row);
    const kind = coloured.groups[row];
    if (!visible[kind]) {
      visible[kind] = 1;
      list();
    }
    flyTo([0, 1, 2].map((axis) => places[row * 3 + axis] / 32767.5 - 1), Math.min(camera.distance, 1.2));
  }

  function showAll() {
    camera.yaw = HOME.yaw;
    camera.pitch = HOME.pitch;
    flyTo(HOME.target, HOME.distance);
  }

  // -- the lists --

  function search() {
    if (!texts) return;
    lowered ||= { titles: texts.titles.map((one) => one.toLowerCase()), snippets: texts.snippets.map((one) => one.toLowerCase()) };
    const asked = byId("search").value;
    const found = find(texts, lowered, asked);
    listResults(texts, found, visit);
    const told = found.total > found.rows.length ? `, the first ${found.rows.length} are listed` : "";
    byId("found").textContent = asked.trim() ? counted(found.total, "document") + " found" + told : "";
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
  byId("coloured").addEventListener("change", colour);
  byId("links").addEventListener("change", redraw);
  byId("leave").addEventListener("click", () => {
    choose(-1);
    canvas.focus();
  });
  byId("closer").addEventListener("click", () => { zoom(0.8); redraw(); });
  byId("farther").addEventListener("click", () => { zoom(1.25); redraw(); });
  byId("home").addEventListener("click", showAll);
  byId("keys").addEventListener("click", () => byId("help").showModal());

  // -- keys --

  const keys = {
    ArrowLeft: () => turn(-STEP, 0),
    ArrowRight: () => turn(STEP, 0),
    ArrowUp: () => turn(0, -STEP),
    ArrowDown: () => turn(0, STEP),
    "+": () => zoom(0.8),
    "=": () => zoom(0.8),
    "-": () => zoom(1.25),
    0: showAll,
    "/": () => byId("search").select(),
    "?": () => byId("help").showModal(),
    l: () => { if (facts.links) byId("links").checked = !byId("links").checked; },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const isTyping = event.target.matches("input[type=search], select");
    if (event.key === "Escape") {
      if (event.target === byId("search") && byId("search").value) {
        byId("search").value = "";
        search();
      } else {
        choose(-1);
        canvas.focus();
      }
      return;
    }
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    // Arrows scroll the lists where one of their buttons has the focus.
    if (!act || isTyping || (event.key.startsWith("Arrow") && event.target !== canvas && event.target !== document.body)) return;
    event.preventDefault();
    act();
    redraw();
  });

  // -- pointers: one turns, two zoom and move --

  const pointers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (pointers.size === 1) travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const now = [event.offsetX, event.offsetY];
    if (!before) {
      if (event.pointerType === "mouse") hover(now);
      return;
    }
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.abs(dx) + Math.abs(dy);
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
    pointers.set(event.pointerId, now);
    hovered = -1;
    redraw();
  });
  const lift = (event) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerup", (event) => {
    lift(event);
    if (travelled > 5 || event.button !== 0) return;
    const row = rowAt(event.offsetX, event.offsetY);
    choose(row);
    if (row >= 0 && event.pointerType === "mouse") open(row); // a finger cannot hover: it chooses first
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 500))));
    redraw();
  }, { passive: false });

  let looked = false;
  function hover(at) {
    if (looked) return;
    looked = true;
    requestAnimationFrame(() => {
      looked = false;
      const row = at ? rowAt(...at) : -1;
      if (row === hovered) return;
      hovered = row;
      canvas.classList.toggle("on", row >= 0);
      redraw();
    });
  }

  // -- the beginning --

  if (!facts.links) byId("links-row").hidden = true;
  byId("links-label").textContent = `Lines for ${counted(facts.links, "link")}`;
  const share = facts.explained_variance ? facts.explained_variance.reduce((sum, one) => sum + one, 0) : null;
  byId("counts").textContent = [
    counted(count, "document"),
    counted(facts.clusters.length, "topic"),
    `${facts.model}, ${facts.method.toUpperCase()}${share === null ? "" : `, ${Math.round(share * 100)}% of the variance`}`,
  ].join(" · ");
  canvas.setAttribute("aria-label", `Map of ${facts.title}: ${counted(count, "document")} in ${counted(facts.clusters.length, "topic")}`);
  colour();
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    tellTrouble("The browser has taken the graphics away. Load the page again to see the map.");
  });
  new ResizeObserver(draw).observe(canvas);
  darkness.addEventListener("change", list);
  texts = await readTexts();
  document.documentElement.dataset.ready = "yes";
  if (byId("search").value) search();
  redraw();
}

start().catch((error) => tellTrouble(`The map cannot be shown: ${error.message}. The points are in the JSON file beside it.`));
