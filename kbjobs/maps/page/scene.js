// What is looked at, from where, and in which colours: the same for both ways to draw.

const FIELD = 2.4; // how strongly what is near is magnified
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
const OTHERS = "#8a8a8a";

const darkness = matchMedia("(prefers-color-scheme: dark)");
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

const colourOf = (group) => (group >= MOST_GROUPS - 1 ? OTHERS : COLOURS[darkness.matches ? "dark" : "light"][group % 8]);
const shapeOf = (group) => Math.floor(group / 8);
const backdrop = () => getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16) / 255);

// A turn about the upright axis, then one about the level one: three rows of three.
function rotation() {
  const [a, b, c, d] = [Math.cos(camera.yaw), Math.sin(camera.yaw), Math.cos(camera.pitch), Math.sin(camera.pitch)];
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

// The diameter of a point, in pixels of the page.
const sizeOf = (depth) => Math.min(16, Math.max(2, baseSize() / depth));
const baseSize = () => 12 + 24 / Math.max(1, Math.log10(count + 1)) - (count > 20000 ? 8 : 0);

// How opaque a line is: of many each says less.
const lineStrength = () => Math.min(0.5, Math.max(0.06, 600 / Math.max(1, facts.links)));

function turn(yaw, pitch) {
  camera.yaw += yaw;
  camera.pitch = Math.min(1.55, Math.max(-1.55, camera.pitch + pitch));
}

function zoom(factor) {
  camera.distance = Math.min(9, Math.max(0.15, camera.distance * factor));
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
