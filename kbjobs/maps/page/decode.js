// Reading what point_encoding.py has packed.

const byId = (id) => document.getElementById(id);
const canvas = byId("map");
const facts = JSON.parse(document.getElementById("facts").textContent);
const count = facts.documents;

// The bytes that are packed in the element of that id.
async function unpack(id) {
  const element = document.getElementById(id);
  const letters = atob(element.textContent);
  element.remove(); // once is enough: the page is large
  const bytes = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) bytes[index] = letters.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Places (x, y, z of each point in turn, 0 to 65,535), numbers of names, and the ends of links.
async function readNumbers() {
  const bytes = await unpack("numbers");
  let next = 0;
  const column = (into, offset, step) => {
    for (let row = 0; row < count; row++) into[row * step + offset] = (bytes[next + row] << 8) | bytes[next + count + row];
    next += 2 * count;
    return into;
  };
  const places = new Uint16Array(count * 3);
  for (let axis = 0; axis < 3; axis++) column(places, axis, 3);
  const groups = {};
  for (const name of ["clusters", "sources", "languages"]) groups[name] = column(new Uint16Array(count), 0, 1);
  const data = new DataView(bytes.buffer, bytes.byteOffset);
  const links = new Uint32Array(facts.links * 2);
  for (let end = 0; end < 2; end++) {
    for (let row = 0; row < facts.links; row++, next += 4) links[row * 2 + end] = data.getUint32(next, true);
  }
  for (let row = 1; row < facts.links; row++) links[row * 2] += links[row * 2 - 2]; // told as steps from the one before
  return { places, groups, links };
}

async function readTexts() {
  const lines = new TextDecoder().decode(await unpack("texts")).split("\n");
  const urls = [];
  let before = "";
  for (let row = 0; row < count; row++) {
    const line = lines[count + row];
    const rest = line.slice(1).replace("\t", () => lines[row].replaceAll(" ", "_"));
    urls.push((before = before.slice(0, line.charCodeAt(0) - 35) + rest));
  }
  return { titles: lines.slice(0, count), urls, snippets: lines.slice(2 * count, 3 * count) };
}
