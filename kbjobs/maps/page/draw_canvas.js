// Drawing without WebGL: the far points first, group by group within layers of depth.

const LAYERS = 6;

function drawByCanvas(canvas, places, links) {
  const pen = canvas.getContext("2d");
  const seen = new Float32Array(places.length);
  let groups = new Uint8Array(count);

  const path = (shape, x, y, size) => {
    const half = size / 2;
    if (shape === 0) {
      pen.moveTo(x + half, y);
      pen.arc(x, y, half, 0, 7);
    } else if (shape === 1 || size < 4) {
      pen.rect(x - half, y - half, size, size);
    } else {
      pen.moveTo(x, y - half);
      pen.lineTo(x + half, shape === 2 ? y : y + half);
      if (shape === 2) pen.lineTo(x, y + half);
      pen.lineTo(x - half, shape === 2 ? y : y + half);
      pen.closePath();
    }
  };

  const isShown = (row, shown) => groups[row] < DIM && shown[groups[row]];

  return {
    name: "canvas",
    group(numbers) {
      groups = numbers;
    },
    draw(width, height, ratio, shown, withLinks) {
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.fillStyle = backdrop();
      pen.fillRect(0, 0, width, height);
      project(places, width, height, seen);
      if (withLinks) {
        pen.strokeStyle = `rgb(128 128 128 / ${100 * lineStrength()}%)`;
        pen.beginPath();
        for (let index = 0; index < links.length; index += 2) {
          const [a, b] = [links[index] * 3, links[index + 1] * 3];
          if (seen[a + 2] < 0.05 || seen[b + 2] < 0.05 || !isShown(links[index], shown) || !isShown(links[index + 1], shown)) continue;
          pen.moveTo(seen[a], seen[a + 1]);
          pen.lineTo(seen[b], seen[b + 1]);
        }
        pen.stroke();
      }
      const [near, end] = fadeRange();
      const step = (end - near) / LAYERS;
      // First what does not match, then the layers, the farthest first.
      const layers = Array.from({ length: (LAYERS + 1) * MOST_GROUPS }, () => []);
      for (let row = 0; row < count; row++) {
        const [x, y, depth] = [seen[row * 3], seen[row * 3 + 1], seen[row * 3 + 2]];
        const group = groups[row] % DIM;
        if (depth < 0.05 || !shown[group] || x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        const layer = LAYERS - Math.min(LAYERS - 1, Math.max(0, Math.floor((depth - near) / step)));
        layers[(groups[row] < DIM ? layer : 0) * MOST_GROUPS + group].push(row);
      }
      layers.forEach((rows, index) => {
        if (!rows.length) return;
        const [layer, group] = [Math.floor(index / MOST_GROUPS), index % MOST_GROUPS];
        pen.globalAlpha = layer ? 1 - FADED * (1 - layer / LAYERS) : LEFT_DIM;
        pen.fillStyle = colourOf(group);
        pen.beginPath();
        for (const row of rows) path(shapeOf(group), seen[row * 3], seen[row * 3 + 1], sizeOf(seen[row * 3 + 2]));
        pen.fill();
      });
      pen.globalAlpha = 1;
    },
  };
}
