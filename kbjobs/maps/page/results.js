// The lists beside the map: what a search finds, and the groups that are told apart by colour.

const MOST_RESULTS = 50;

function element(name, text, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== null) made.textContent = text;
  return made;
}

const number = (value) => value.toLocaleString("en");
const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// Rows whose title, or else whose snippet, has all the words.
function find(texts, lowered, asked) {
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return { rows: [], total: 0 };
  const inTitle = [];
  const inSnippet = [];
  let total = 0;
  for (let row = 0; row < count; row++) {
    if (words.every((word) => lowered.titles[row].includes(word))) {
      total++;
      if (inTitle.length < MOST_RESULTS) inTitle.push(row);
    } else if (words.every((word) => lowered.titles[row].includes(word) || lowered.snippets[row].includes(word))) {
      total++;
      if (inSnippet.length < MOST_RESULTS) inSnippet.push(row);
    }
  }
  inTitle.sort((a, b) => texts.titles[a].length - texts.titles[b].length || a - b);
  return { rows: [...inTitle, ...inSnippet].slice(0, MOST_RESULTS), total };
}

function listResults(texts, found, onChoose) {
  const list = document.getElementById("results");
  list.replaceChildren(
    ...found.rows.map((row) => {
      const button = element("button", null, { type: "button" });
      button.append(element("span", texts.titles[row], { dir: "auto" }), element("small", texts.snippets[row], { dir: "auto" }));
      button.addEventListener("click", () => onChoose(row));
      const item = element("li", null);
      item.append(button);
      return item;
    }),
  );
}

// Names and sizes of the groups of a kind, the largest first; those beyond the colours are one group.
function groupsOf(kind, numbers) {
  const names = { clusters: facts.clusters, sources: facts.sources.map((one) => one.name), languages: facts.languages }[kind];
  const sizes = new Array(names.length).fill(0);
  for (let row = 0; row < count; row++) sizes[numbers[row]]++;
  const order = names.map((_, index) => index).sort((a, b) => sizes[b] - sizes[a] || a - b);
  const group = new Uint8Array(names.length);
  const last = MOST_GROUPS - 1;
  order.forEach((index, place) => (group[index] = Math.min(place, last)));
  const shown = order.slice(0, last).map((index) => ({ name: names[index] || "unknown", size: sizes[index] }));
  if (order.length > last) {
    const rest = order.slice(last);
    shown.push({ name: `${number(rest.length)} others`, size: rest.reduce((sum, index) => sum + sizes[index], 0) });
  }
  return { shown, groups: Uint8Array.from(numbers, (one) => group[one]) };
}

const OUTLINES = ["M7 1a6 6 0 1 0 .01 0z", "M2 2h10v10H2z", "M7 0l7 7-7 7-7-7z", "M7 1l7 12H0z"];

function swatch(group) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 14 14");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", OUTLINES[shapeOf(group)]);
  path.setAttribute("fill", colourOf(group));
  picture.append(path);
  return picture;
}

// Each group is a button that hides it and shows it again.
function listGroups(shown, visible, onToggle) {
  document.getElementById("legend").replaceChildren(
    ...shown.map((one, group) => {
      const button = element("button", null, { type: "button" });
      button.append(swatch(group), element("span", one.name, { dir: "auto" }), " ", element("span", number(one.size)));
      button.setAttribute("aria-pressed", String(visible[group] === 1));
      button.setAttribute("aria-label", `${one.name} ${counted(one.size, "document")}, shown`);
      button.addEventListener("click", () => {
        visible[group] = 1 - visible[group];
        button.setAttribute("aria-pressed", String(visible[group] === 1));
        onToggle();
      });
      const item = element("li", null);
      item.append(button);
      return item;
    }),
  );
}
