// The lists beside the map: what a search finds, and the groups that are told apart by colour.

const MOST_RESULTS = 50; // listed at first, and added by each "more"
const MOST_SORTED = 20000; // of more nobody reads the last

function element(name, text, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== null) made.textContent = text;
  return made;
}

const number = (value) => value.toLocaleString("en");
const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// What was asked for: rows in the order of the list (those with all words in the title first), and for each point 1 if
// it is among them. Null if nothing was asked for.
function find(texts, asked, area) {
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length && !area) return null;
  texts.lowered ||= { titles: texts.titles.map((one) => one.toLowerCase()), snippets: texts.snippets.map((one) => one.toLowerCase()) };
  const { titles, snippets } = texts.lowered;
  const [inTitle, inSnippet] = [[], []];
  const matches = new Uint8Array(count);
  for (let row = 0; row < count; row++) {
    if (area && !area[row]) continue;
    if (words.every((word) => titles[row].includes(word))) inTitle.push(row);
    else if (words.every((word) => titles[row].includes(word) || snippets[row].includes(word))) inSnippet.push(row);
    else continue;
    matches[row] = 1;
  }
  // The shortest title is nearest to what was asked for. What only lies in an area is listed as it lies in its source.
  if (words.length && inTitle.length <= MOST_SORTED) inTitle.sort((a, b) => texts.titles[a].length - texts.titles[b].length || a - b);
  return { rows: inTitle.concat(inSnippet), matches };
}

function makeResult(texts, row, onChoose) {
  const button = element("button", null, { type: "button" });
  button.append(element("span", texts.titles[row], { dir: "auto" }), element("small", texts.snippets[row], { dir: "auto" }));
  button.addEventListener("click", () => onChoose(row));
  const item = element("li", null);
  item.append(button);
  return item;
}

// The list; a button below it adds more as long as there are some.
function listResults(texts, rows, onChoose) {
  const [list, more] = [byId("results"), byId("more")];
  const add = () => {
    const start = list.children.length;
    list.append(...rows.slice(start, start + MOST_RESULTS).map((row) => makeResult(texts, row, onChoose)));
    const left = rows.length - list.children.length;
    more.hidden = !left;
    more.textContent = `${number(Math.min(left, MOST_RESULTS))} more of ${number(left)}`;
    return list.children[start];
  };
  list.replaceChildren();
  add();
  more.onclick = () => add().firstElementChild.focus();
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
  return { kind, shown, groupOf: group, groups: Uint8Array.from(numbers, (one) => group[one]) };
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
  byId("legend").replaceChildren(
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
