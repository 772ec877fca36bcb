// What is looked at, from where, and in which colours: the same for both ways to draw.

const FIELD = 2.4; // how strongly what is near is magnified
const MARGIN = 28; // pixels around the points when all are shown
const SWING = 1; // of the first turn, as an angle
const camera = { yaw: 0.6, pitch: 0.35, distance: 3.6, target: [0, 0, 0] };
const HOME = { ...camera, target: [...camera.target] };

// The colours of Okabe and Ito (2008), which people tell apart who see some colours alike; on a dark ground their black
// is white. Beyond the eighth the shape changes.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#b3a300"],
  dark: ["#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#eeeeee", "#0072b2"],
};
const SHAPES = 4; // circle, square, diamond, triangle
const MOST_GROUPS = 8 * SHAPES;
const DIM = 64; // added to the group of a point that does not match
const OTHERS = "#8a8a8a";
const FADED = 0.6; // how much of the ground is in the colour of the farthest points: depth is seen without a turn
const LEFT_DIM = 0.16; // of its colour, for what does not match

const darkness = matchMedia("(prefers-color-scheme: dark)");
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// What is shown now: the columns of the points, and what the reader has asked for.
const state = {
  places: null,
  groups: null,
  links: null,
  seen: null, // where each point was when last projected
  texts: null,
  coloured: null,
  visible: new Float32Array(MOST_GROUPS).fill(1),
  matches: null, // for each point 1 if it is what was asked for; null if nothing was
  matched: null, // for each cluster how many of its points are
  area: null, // for each point 1 if it is in the chosen area
  chosen: -1,
  hovered: -1,
  isHome: true, // nobody has moved the view
};

const colourOf = (group) => (group >= MOST_GROUPS - 1 ? OTHERS : COLOURS[darkness.matches ? "dark" : "light"][group % 8]);
const shapeOf = (group) => Math.floor(group / 8);
const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16) / 255);

// The ground is asked of the style sheet once for each scheme: a frame that asks has the page laid out before it.
let ground = null;
const backdrop = () => (ground ||= getComputedStyle(document.documentElement).getPropertyValue("--paper").trim());
darkness.addEventListener("change", () => (ground = null));

// A turn about the upright axis, then one about the level one: three rows of three.
function rotation(yaw = camera.yaw, pitch = camera.pitch) {
  const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [a, 0, b, b * d, c, -a * d, -b * c, d, a * c];
}

// For each point where it is on a view of that size: x and y in pixels, depth (0 or less lies behind the eye).
function project(places, width, height, into) {
  const r = rotation();
  const [tx, ty, tz] = camera.target;
  const scale = (FIELD * Math.min(width, height)) / 2;
  for (let index = 0; index < places.length; index += 3) {
    const x = places[index] / 32767.5 - 1 - tx;
    const y = places[index + 1] / 32767.5 - 1 - ty;
    const z = places[index + 2] / 32767.5 - 1 - tz;
    const depth = camera.distance - (r[6] * x + r[7] * y + r[8] * z);
    into[index] = width / 2 + (scale * (r[0] * x + r[1] * y + r[2] * z)) / depth;
    into[index + 1] = height / 2 - (scale * (r[3] * x + r[4] * y + r[5] * z)) / depth;
    into[index + 2] = depth;
  }
  return into;
}

// The middle of all points as seen from that side, along the three axes of the view and of the map.
function findMiddle(places, r) {
  const ends = [Infinity, -Infinity, Infinity, -Infinity, Infinity, -Infinity];
  for (let index = 0; index < places.length; index += 3) {
    const [x, y, z] = [places[index] / 32767.5 - 1, places[index + 1] / 32767.5 - 1, places[index + 2] / 32767.5 - 1];
    for (let axis = 0; axis < 3; axis++) {
      const at = r[3 * axis] * x + r[3 * axis + 1] * y + r[3 * axis + 2] * z;
      if (at < ends[2 * axis]) ends[2 * axis] = at;
      if (at > ends[2 * axis + 1]) ends[2 * axis + 1] = at;
    }
  }
  const middle = [0, 1, 2].map((axis) => (ends[2 * axis] + ends[2 * axis + 1]) / 2);
  return [0, 1, 2].map((axis) => r[axis] * middle[0] + r[3 + axis] * middle[1] + r[6 + axis] * middle[2]);
}

// Sets HOME so that every point is within a view of that size, from where the first turn begins to where it ends.
function fitHome(places, width, height) {
  HOME.target = findMiddle(places, rotation(HOME.yaw, HOME.pitch));
  const least = FIELD * Math.min(width, height);
  const [wide, high] = [least / Math.max(60, width - 2 * MARGIN), least / Math.max(60, height - 2 * MARGIN)];
  let distance = 1.2;
  for (const yaw of [HOME.yaw, HOME.yaw - SWING / 2, HOME.yaw - SWING]) {
    const r = rotation(yaw, HOME.pitch);
    for (let index = 0; index < places.length; index += 3) {
      const x = places[index] / 32767.5 - 1 - HOME.target[0];
      const y = places[index + 1] / 32767.5 - 1 - HOME.target[1];
      const z = places[index + 2] / 32767.5 - 1 - HOME.target[2];
      const across = Math.abs(r[0] * x + r[1] * y + r[2] * z) * wide;
      const up = Math.abs(r[3] * x + r[4] * y + r[5] * z) * high;
      const far = r[6] * x + r[7] * y + r[8] * z + (across > up ? across : up);
      if (far > distance) distance = far;
    }
  }
  HOME.distance = Math.min(MOST_DISTANCE, distance);
}

// The diameter of a point, in pixels of the page.
const sizeOf = (depth) => Math.min(16, Math.max(2, baseSize() / depth));
const baseSize = () => 12 + 24 / Math.max(1, Math.log10(count + 1)) - (count > 20000 ? 8 : 0);

// Between these depths points fade into the ground.
const fadeRange = () => [Math.max(0.1, camera.distance - 1), camera.distance + 1.2];

// How opaque a line is: of many each says less.
const lineStrength = () => Math.min(0.5, Math.max(0.06, 600 / Math.max(1, facts.links)));

function turn(yaw, pitch) {
  camera.yaw += yaw;
  camera.pitch = Math.min(1.55, Math.max(-1.55, camera.pitch + pitch));
}

const LEAST_DISTANCE = 0.15;
const MOST_DISTANCE = 12;

// Comes nearer (a factor below 1) or goes away. What is ``right`` and ``up`` of the middle, in halves of the view's
// shorter side, stays where it is.
function zoom(factor, right = 0, up = 0) {
  const before = camera.distance;
  camera.distance = Math.min(MOST_DISTANCE, Math.max(LEAST_DISTANCE, before * factor));
  const moved = 1 - camera.distance / before;
  const after = camera.distance;
  camera.distance = before; // what is moved by lies as far as it did
  shift(right * moved, up * moved);
  camera.distance = after;
}

// Moves what is looked at by a part of the view.
function shift(right, up) {
  const r = rotation();
  const far = camera.distance / FIELD;
  for (let axis = 0; axis < 3; axis++) {
    const moved = camera.target[axis] + far * (right * r[axis] + up * r[3 + axis]);
    camera.target[axis] = Math.min(1.5, Math.max(-1.5, moved));
  }
}
