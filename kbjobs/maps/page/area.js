// An area of the map: what a lasso goes around, or a box if it was drawn as a straight line, or all that is in view.

const lasso = { isOn: false, path: null };

function setLasso(isOn) {
  lasso.isOn = isOn;
  lasso.path = null;
  byId("lasso").setAttribute("aria-pressed", String(isOn));
  canvas.classList.toggle("lasso", isOn);
  byId("line").setAttribute("points", "");
  byId("lasso-help").hidden = !isOn;
}

function drawLasso(at) {
  lasso.path.push(at);
  byId("line").setAttribute("points", cornersOf(lasso.path).map(([x, y]) => `${x.toFixed()},${y.toFixed()}`).join(" "));
}

const boundsOf = (path) => {
  const [xs, ys] = [path.map(([x]) => x), path.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
};

// The path, or the box between its ends if it goes around nothing.
function cornersOf(path) {
  const [left, top, right, bottom] = boundsOf(path);
  let twice = 0;
  path.forEach(([x, y], index) => {
    const [nextX, nextY] = path[(index + 1) % path.length];
    twice += x * nextY - nextX * y;
  });
  if (Math.abs(twice) / 2 > 0.1 * (right - left) * (bottom - top)) return path;
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

// Whether a place lies within a polygon: a line from it to the left crosses the border an odd number of times.
function isWithin(corners, x, y) {
  let isIn = false;
  for (let index = 0, before = corners.length - 1; index < corners.length; before = index++) {
    const [[ax, ay], [bx, by]] = [corners[index], corners[before]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isIn = !isIn;
  }
  return isIn;
}

// For each point 1 if it is shown and seen within the corners.
function findWithin(corners) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const { places, seen, coloured, visible } = state;
  project(places, width, height, seen);
  const [left, top, right, bottom] = boundsOf(corners);
  const found = new Uint8Array(count);
  for (let row = 0; row < count; row++) {
    const [x, y] = [seen[row * 3], seen[row * 3 + 1]];
    if (seen[row * 3 + 2] < 0.05 || x < left || x > right || y < top || y > bottom || !visible[coloured.groups[row]]) continue;
    if (isWithin(corners, x, y)) found[row] = 1;
  }
  return found;
}

function chooseArea(corners) {
  state.area = corners ? findWithin(corners) : null;
  byId("clear-area").hidden = !state.area;
  search();
}

// The way without a pointer: all that the window shows.
function chooseView() {
  const { clientWidth: width, clientHeight: height } = canvas;
  chooseArea([[0, 0], [width, 0], [width, height], [0, height]]);
}
