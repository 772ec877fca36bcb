// The ring around the chosen point and its card, and the title of the point below the mouse. Each stands beside its
// point, never over it.

const GAP = 10; // pixels between a ring and its card
const EDGE = 8; // pixels between a card and the edge of the view

const sizes = { chosen: [0, 0], hover: [0, 0] };

// Where a box goes that tells of a point: right of it, else left, else below or above, wherever there is more room.
function besides([x, y], radius, [wide, high], width, height) {
  const off = radius + GAP;
  const level = Math.max(EDGE, Math.min(y - high / 2, height - high - EDGE));
  if (x + off + wide <= width - EDGE) return [x + off, level];
  if (x - off - wide >= EDGE) return [x - off - wide, level];
  const left = Math.max(EDGE, Math.min(x - wide / 2, width - wide - EDGE));
  return y < height / 2 ? [left, y + off] : [left, y - off - high];
}

// Where the point of that row is seen, or null if it is not.
function findOnView(row, width, height) {
  const at = project(state.places.subarray(row * 3, row * 3 + 3), width, height, new Float32Array(3));
  const isIn = at[2] > 0.05 && at[0] >= 0 && at[1] >= 0 && at[0] <= width && at[1] <= height;
  return isIn ? at : null;
}

const moveTo = (box, [left, top]) => (box.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px)`);

function placeCard(width, height) {
  const { chosen, texts } = state;
  const [ring, card] = [byId("ring"), byId("chosen")];
  card.hidden = chosen < 0 || !texts;
  const at = chosen < 0 ? null : findOnView(chosen, width, height);
  ring.hidden = !at;
  if (at) {
    const radius = sizeOf(at[2]) / 2 + 5;
    ring.style.width = ring.style.height = `${2 * radius}px`;
    moveTo(ring, [at[0] - radius, at[1] - radius]);
    if (!card.hidden) moveTo(card, besides(at, radius, sizes.chosen, width, height));
  } else if (!card.hidden) {
    moveTo(card, [Math.max(EDGE, width - sizes.chosen[0] - EDGE), EDGE]);
  }
}

function placeHover(width, height) {
  const { hovered, chosen, texts } = state;
  const box = byId("hover");
  const at = hovered < 0 || hovered === chosen || !texts ? null : findOnView(hovered, width, height);
  box.hidden = !at;
  if (!at) return;
  if (box.dataset.row !== String(hovered)) {
    box.dataset.row = String(hovered);
    box.firstElementChild.textContent = texts.titles[hovered];
    box.lastElementChild.textContent = texts.snippets[hovered];
    sizes.hover = [box.offsetWidth, box.offsetHeight];
  }
  moveTo(box, besides(at, sizeOf(at[2]) / 2, sizes.hover, width, height));
}

// A card is measured when it has changed, not in every frame: that would have the page laid out each time.
function measureCard() {
  const card = byId("chosen");
  if (!card.hidden) sizes.chosen = [card.offsetWidth, card.offsetHeight];
}

function followable(url) {
  try {
    return ["http:", "https:", "file:"].includes(new URL(url).protocol) ? url : "";
  } catch {
    return "";
  }
}

function choose(row) {
  const { texts, groups } = state;
  state.chosen = row;
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
    measureCard();
  }
  redraw();
}

function openDocument(row) {
  const url = state.texts && followable(state.texts.urls[row]);
  if (url) window.open(url, "_blank", "noopener,noreferrer");
}
