// Drawing by WebGL 2: all points in one call. Returns null where there is none.

const VERTEX = `#version 300 es
in vec3 place; in float group;
uniform bool lines; uniform mat3 turned; uniform vec3 target; uniform vec2 scale, fading;
uniform float distance_, size, ratio, shown[${MOST_GROUPS}];
uniform vec3 paper, colours[${MOST_GROUPS}];
flat out int shape; flat out vec3 fill, rim; out float hidden;
void main() {
  bool dim = group >= ${DIM}.0;
  int kind = int(group) % ${DIM};
  vec3 seen = turned * (place * 2.0 - 1.0 - target);
  float depth = distance_ - seen.z;
  // What does not match lies behind all that does, and only keeps a breath of its colour.
  gl_Position = vec4(scale * seen.xy, dim ? depth * 0.9999 : depth * 1.002 - 0.04, depth);
  if (dim && depth < 0.02) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = clamp(size / depth, 2.0, 16.0) * ratio;
  float faded = dim ? ${1 - LEFT_DIM} : ${FADED} * clamp((depth - fading.x) / (fading.y - fading.x), 0.0, 1.0);
  // What is the same in all of a point is worked out once: a processor that draws alone does little else.
  shape = kind / 8;
  fill = mix(colours[kind], paper, faded);
  rim = mix(colours[kind] * 0.8, paper, faded);
  hidden = 1.0 - shown[kind];
  if (hidden > 0.5 && !lines) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  if (dim) hidden = 1.0;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
flat in int shape; flat in vec3 fill, rim; in float hidden;
uniform bool lines; uniform float strength;
out vec4 colour;
void main() {
  if (lines) { if (hidden > 0.0) discard; colour = vec4(0.5, 0.5, 0.5, strength); return; }
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float far = shape == 0 ? dot(at, at) : shape == 1 ? max(abs(at.x), abs(at.y)) * 1.2
    : shape == 2 ? abs(at.x) + abs(at.y) : max(abs(at.x) * 1.7 - at.y * 0.85 + 0.15, at.y * 1.1);
  if (far > 1.0) discard;
  colour = vec4(far > 0.7 ? rim : fill, 1.0);
}`;

function drawByWebGL(canvas, places, links) {
  // Without alpha: the page would shine through lines, white through grey on white.
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false });
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const buffer = (target, content) => {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, content, gl.STATIC_DRAW);
    return made;
  };
  const positions = buffer(gl.ARRAY_BUFFER, places);
  const groups = buffer(gl.ARRAY_BUFFER, new Uint8Array(count));
  const [place, group] = ["place", "group"].map((name) => gl.getAttribLocation(program, name));
  gl.enableVertexAttribArray(place);
  gl.enableVertexAttribArray(group);
  // From here on only every ``step``-th point is read.
  const read = (step) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, positions);
    gl.vertexAttribPointer(place, 3, gl.UNSIGNED_SHORT, true, 6 * step, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, groups);
    gl.vertexAttribPointer(group, 1, gl.UNSIGNED_BYTE, false, step, 0);
  };
  buffer(gl.ELEMENT_ARRAY_BUFFER, links);
  gl.enable(gl.DEPTH_TEST);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  return {
    name: "webgl",
    group(numbers) {
      gl.bindBuffer(gl.ARRAY_BUFFER, groups);
      gl.bufferData(gl.ARRAY_BUFFER, numbers, gl.STATIC_DRAW);
    },
    draw(width, height, ratio, shown, withLinks, step) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(...channels(backdrop()), 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      const least = Math.min(width, height);
      gl.uniformMatrix3fv(uniform("turned"), true, rotation());
      gl.uniform3fv(uniform("target"), camera.target);
      gl.uniform2f(uniform("scale"), (FIELD * least) / width, (FIELD * least) / height);
      gl.uniform1f(uniform("distance_"), camera.distance);
      gl.uniform1f(uniform("size"), baseSize());
      gl.uniform1f(uniform("ratio"), ratio);
      gl.uniform1fv(uniform("shown"), shown);
      gl.uniform2f(uniform("fading"), ...fadeRange());
      gl.uniform3fv(uniform("paper"), channels(backdrop()));
      gl.uniform3fv(uniform("colours"), Array.from({ length: MOST_GROUPS }, (_, group) => channels(colourOf(group))).flat());
      gl.uniform1f(uniform("strength"), lineStrength());
      if (withLinks) {
        read(1);
        // Below the points, whatever is nearer: many lines would hide them.
        gl.uniform1i(uniform("lines"), 1);
        gl.enable(gl.BLEND);
        gl.depthMask(false);
        gl.drawElements(gl.LINES, links.length, gl.UNSIGNED_INT, 0);
        gl.depthMask(true);
        gl.disable(gl.BLEND);
      }
      gl.uniform1i(uniform("lines"), 0);
      read(step);
      gl.drawArrays(gl.POINTS, 0, Math.floor(count / step));
    },
  };
}
