// The builder: a draft is the tables of a chain file. The form changes the draft, the server writes it into the text.
const { ask, tell, span, isPressed } = window.kbjobs;
const $ = (id) => document.getElementById(id);
const API = "/api/job-builder";
const STORE = "kbjobs-draft";
const NAME = /^[a-z][a-z0-9_-]{0,63}$/;
const MOST_UNDO = 100;
const PAUSE_MS = 400;

let types = {}; // by name
let state = empty();
let selected = -1;
let findings = [];
let past = [], future = [];
let turn = 0; // counts the changes: an answer to an earlier one is of no use any more

// `toml` is the text that the server has written or read last; `file` is what is known of the chain's file in the home.
function empty() {
  return { toml: "", draft: {}, file: { name: "", version: null, text: null } };
}

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

const phases = () => (Array.isArray(state.draft.phase) ? state.draft.phase : []);
const plain = (name) => String(name || "").replaceAll("-", "_");
const typeOf = (phase) => types[plain(phase.job)];
const labelOf = (phase) => (typeOf(phase) ? typeOf(phase).label : String(phase.job));
const sourcesOf = (draft) => draft.sources || (draft.source ? [draft.source] : []);
const weightOf = (phase) => (typeof phase.weight === "number" ? phase.weight : typeOf(phase) ? typeOf(phase).weight : 0);
const copy = (value) => JSON.parse(JSON.stringify(value));

// ---- changing ------------------------------------------------------------------------------------

// `change` alters a copy of the draft. `base` is the text that the server has written last, and for each phase of the
// draft which one of that text it comes from: changes may come faster than answers.
let base = { toml: "", origins: [] };
let isBehind = false; // the text does not say yet what the form says
let sending = null; // the request that makes it say so: one at a time, the next one carries whatever has changed since

function edit(change, isTyped) {
  const draft = copy(state.draft);
  if (!Array.isArray(draft.phase)) draft.phase = [];
  draft.phase.forEach((phase, index) => { phase._from = base.origins[index] ?? null; });
  change(draft);
  const origins = draft.phase.map((phase) => phase._from ?? null);
  draft.phase.forEach((phase) => delete phase._from);
  if (!draft.phase.length) delete draft.phase;
  if (JSON.stringify(draft) === JSON.stringify(state.draft)) return;
  remember();
  base.origins = origins;
  state = { ...state, draft };
  write();
  if (isTyped) showSoon(); else show();
}

function write() {
  turn++;
  isBehind = true;
  touch();
  sync().catch(complain);
}

function sync() {
  return (sending ??= send());
}

async function send() {
  $("toml").readOnly = true; // it is about to be rewritten
  try {
    while (isBehind) {
      const sent = turn;
      const found = await ask("POST", `${API}/edit`, { toml: base.toml, draft: state.draft, origins: base.origins }).catch((error) => ({ error }));
      if (sent !== turn) continue;
      if (found.error) throw found.error;
      settle(found.toml);
    }
  } finally {
    sending = null;
    $("toml").readOnly = false;
  }
}

function settle(toml) {
  isBehind = isUnread = false;
  state.toml = toml;
  base = { toml, origins: phases().map((_, index) => index) };
  showText();
  keep();
  showHead();
  later();
}

const snapshot = () => ({ ...copy({ draft: state.draft, base }), file: state.file });

function remember() {
  past.push(snapshot());
  if (past.length > MOST_UNDO) past.shift();
  future = [];
}

function step(from, to) {
  if (!from.length) return;
  to.push(snapshot());
  const before = from.pop();
  base = before.base;
  state = { ...state, draft: before.draft, file: before.file };
  selected = Math.min(selected, phases().length - 1);
  write();
  show();
}

// ---- what is typed -------------------------------------------------------------------------------

// Fields whose text is not in the draft yet. A field's `commit` puts it there, or throws what is wrong with it.
const typed = new Set();
let isUnread = false; // the box of the text says something else than `state.toml`
let reading = null, pause = null;

function watch(input, commit) {
  input.commit = commit;
  input.addEventListener("input", () => { input.setCustomValidity(""); typed.add(input); touch(); });
  input.addEventListener("change", () => gather().catch((error) => complain(error, error.input === input)));
  return input;
}

function check(input, name) {
  if (!input.checkValidity()) throw Object.assign(new Error(`${name}: ${input.validationMessage}`), { input });
}

const partOf = (input) => (input.type === "checkbox" ? "checked" : "value");
const typedValues = () => [...typed].map((input) => [input.id, input[partOf(input)]]);

function typeAgain(values) {
  for (const [id, value] of values) {
    const input = $(id);
    if (!input) continue;
    input[partOf(input)] = value;
    typed.add(input);
  }
  showFile();
}

// Puts all that was typed into the draft: first the text, then the fields.
async function gather() {
  await reading;
  await (reading ??= readText().finally(() => { reading = null; }));
  let problem = null;
  for (const input of typed) {
    try {
      input.commit();
      typed.delete(input);
    } catch (error) {
      problem ??= error;
    }
  }
  showFile();
  keep();
  if (problem) throw problem;
}

async function readText() {
  clearTimeout(pause);
  while (isUnread) {
    const toml = $("toml").value;
    const found = await ask("POST", `${API}/parse`, { toml }).catch((error) => ({ error }));
    if ($("toml").value !== toml) continue;
    if (found.error) throw new Error(`TOML: ${found.error.message}`);
    remember();
    turn++;
    state = { ...state, draft: found.draft };
    selected = Math.min(selected, phases().length - 1);
    settle(toml);
    showSoon();
  }
}

// Every action begins here: the text says all that is on the page, or nothing is done.
async function settled() {
  await gather();
  while (isBehind) await sync();
}

// Discards text that cannot be read.
function drop() {
  clearTimeout(pause);
  isUnread = false;
  typed.clear();
  shown = {};
  showText();
  show();
  keep();
  say("Unreadable input was discarded.");
}

const undo = () => gather().then(() => step(past, future), drop);
const redo = () => after(() => step(future, past));

// A change by a click or a key comes after what was typed before it.
function after(change) {
  return gather().then(change).catch((error) => complain(error, true));
}

async function act(name, action) {
  try {
    await settled();
  } catch (error) {
    complain(error, true);
    say(`${name} was not done. ${error.message}`);
    return;
  }
  try {
    await action();
  } catch (error) {
    complain(error);
  }
}

function complain(error, isAsked) {
  say(error.message);
  if (isAsked && error.input) error.input.reportValidity();
}

// A message that holds until something is changed.
let said = "";
function say(text) {
  said = text;
  tell(text);
}

function touch() {
  if (said && $("told").textContent === said) say("");
  showFile();
  keep();
}

// A draft belongs to its tab, which has it again after a reload or a crash.
function keep() {
  const text = isUnread ? $("toml").value : null;
  sessionStorage.setItem(STORE, JSON.stringify({ state, base, selected, isBehind, text, typed: typedValues() }));
}

// ---- asking the server what it makes of it ---------------------------------------------------------

let timer = null;
function later() {
  clearTimeout(timer);
  timer = setTimeout(() => validate(false), PAUSE_MS);
}

async function validate(isAsked) {
  const toml = state.toml;
  if (!phases().length) { findings = []; showFindings(); if (isAsked) say("No phases yet."); return; }
  try {
    const found = await ask("POST", `${API}/validate`, { toml });
    if (toml === state.toml) { findings = found.findings; showFindings(); }
    if (isAsked) say(found.valid ? (found.findings.length ? `Valid, ${found.findings.length} to consider.` : "Valid.") : `${found.findings.filter((one) => one.severity === "error").length} to mend.`);
  } catch (error) {
    if (isAsked) say(error.message);
  }
}

async function forecast() {
  $("outlook").textContent = "Counting…";
  try {
    const { forecasts } = await ask("POST", `${API}/forecast`, { toml: state.toml });
    $("outlook").replaceChildren(...forecasts.map(showForecast));
  } catch (error) {
    $("outlook").textContent = "";
    throw error;
  }
}

function showForecast(one) {
  const number = (value, phase) => (value === null ? "—" : (phase.exact ? "" : "~") + value.toLocaleString("en"));
  const time = (minutes) => (minutes === null ? "—" : span(Math.round(minutes * 60)));
  const money = (value) => (value === null ? "—" : value.toPrecision(2));
  const head = ["Phase", "Documents", "Passages", "To embed", "Tokens", "USD", "Time"];
  const rows = one.phases.map((phase) => el("tr", {}, el("td", {}, phase.name.replaceAll("_", "-")),
    ...[phase.documents, phase.passages, phase.new, phase.tokens].map((value) => el("td", { class: "number" }, number(value, phase))),
    el("td", { class: "number" }, money(phase.price_usd)), el("td", { class: "number" }, time(phase.minutes))));
  const total = `${one.source || "no source"}: ` + (one.price_usd === null ? "costs nothing" : `at most about ${money(one.price_usd)} USD`)
    + (one.minutes === null ? ", time not known" : `, about ${time(one.minutes)}`) + (one.untimed.length && one.minutes !== null ? ` without ${one.untimed.join(", ")}` : "") + ".";
  return el("div", {}, el("p", {}, total, ...one.notes.map((note) => ` ${note}`)),
    one.refused ? el("p", { class: "error" }, `A submit would be refused now: ${one.refused.message} ${one.refused.hint}`) : null,
    el("table", { tabindex: "0" }, el("thead", {}, el("tr", {}, ...head.map((text, index) => el("th", { scope: "col", class: index ? "number" : null }, text)))), el("tbody", {}, ...rows)));
}

async function run() {
  try {
    const found = await ask("POST", `${API}/run`, { toml: state.toml, resume: $("resume").checked });
    location.href = found.jobs.length === 1 ? `/jobs/${found.id}` : "/jobs";
  } catch (error) {
    say(error.message);
    await validate(false);
  }
}

async function save() {
  const { toml, file } = state, name = plain(state.draft.name);
  if (!NAME.test(name)) { say("Give the chain a name: a–z, 0–9, '-' and '_', a letter first."); $("name").focus(); return; }
  try {
    const { version } = await ask("PUT", `/api/chains/${name}`, { toml, version: name === file.name ? file.version : null });
    Object.assign(file, { name, version, text: toml });
    say(isSaved() ? `Saved as ${name}.toml in chains/ of the home.` : `Saved as it was when you clicked; later changes are not in the file.`);
    keep();
    showHead();
  } catch (error) {
    say(error.status === 409 ? `${error.message} What is here stays here.` : error.message);
  }
}

async function removeChain() {
  const { file } = state;
  if (!confirm(`Delete ${file.name}.toml from chains/? The chain on this page stays.`)) return;
  await ask("DELETE", `/api/chains/${file.name}`);
  say(`${file.name}.toml is deleted.`);
  Object.assign(file, empty().file);
  keep();
  showHead();
}

// Another chain takes the place of this one. What is changed before it is there is changed in it.
function load(work) {
  const loading = work().then(replaceAll);
  reading = loading.catch(() => {}).finally(() => { reading = null; });
  return loading;
}

async function open(name) {
  const found = await ask("GET", `/api/chains/${name}`);
  const isHome = found.origin === "home";
  say(isHome ? "" : `${name} is built in: saved, it becomes a chain of yours that takes its place.`);
  if (found.draft === null) $("text-details").open = true;
  return { toml: found.toml, draft: found.draft, file: isHome ? { name: found.name, version: found.version, text: found.toml } : empty().file };
}

async function openJob(id) {
  const { toml } = await ask("GET", `/api/jobs/${id}/chain`);
  const { draft } = await ask("POST", `${API}/parse`, { toml });
  return { ...empty(), toml, draft };
}

async function importFile() {
  const file = $("import-file").files[0], toml = file.size > 256 * 1024 ? null : await file.text();
  $("import-file").value = "";
  if (toml === null) throw new Error(`${file.name} is larger than 256 KB: no chain file.`);
  const { draft } = await ask("POST", `${API}/parse`, { toml }).catch((error) => { throw new Error(`${file.name}: ${error.message}`); });
  return { ...empty(), toml, draft };
}

function exportFile() {
  const url = URL.createObjectURL(new Blob([state.toml], { type: "application/toml" }));
  el("a", { href: url, download: `${plain(state.draft.name) || "chain"}.toml` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function copyCommand() {
  return navigator.clipboard.writeText($("command").textContent).then(() => say("Copied."), () => say("The browser does not allow this. Select the command and copy it."));
}

// `next` without a draft is a text that cannot be read.
function replaceAll(next) {
  remember();
  turn++;
  state = next.draft ? next : { ...empty(), file: next.file };
  selected = phases().length ? 0 : -1;
  $("outlook").textContent = "";
  settle(state.toml);
  show();
  if (next.draft) return;
  $("toml").value = next.toml;
  isUnread = true;
  touch();
}

// ---- phases --------------------------------------------------------------------------------------

function add(job, at = phases().length) {
  selected = at;
  edit((draft) => draft.phase.splice(at, 0, { job }));
  showSheet(false);
  $("phases").children[at].scrollIntoView({ block: "nearest" });
  tell(`${types[job] ? types[job].label : job} is phase ${at + 1}.`);
}

// On a narrow page the jobs to add are a sheet that comes from below.
function showSheet(isOpen) {
  document.body.classList.toggle("sheet", isOpen);
  $("sheet").setAttribute("aria-expanded", String(isOpen));
}

function move(from, to, focus = "pick") {
  if (to < 0 || to >= phases().length || from === to) return;
  const label = labelOf(phases()[from]);
  selected = to;
  edit((draft) => draft.phase.splice(to, 0, ...draft.phase.splice(from, 1)));
  focusPhase(to, focus);
  tell(`${label} is now phase ${to + 1} of ${phases().length}.`);
}

function remove(index) {
  const label = labelOf(phases()[index]);
  selected = Math.min(index, phases().length - 2);
  edit((draft) => draft.phase.splice(index, 1));
  if (selected >= 0) focusPhase(selected, "pick");
  tell(`${label} is removed. Undo brings it back.`);
}

function duplicate(index) {
  selected = index + 1;
  edit((draft) => {
    const twin = copy(draft.phase[index]);
    if (twin.name) delete twin.name; // two phases of one name are a mistake
    draft.phase.splice(index + 1, 0, twin);
  });
}

function focusPhase(index, part) {
  const row = $("phases").children[index];
  const found = row && (row.querySelector(`.${part}:not(:disabled)`) || row.querySelector(".pick"));
  if (found) found.focus();
}

let dragged = -1;
function showPhases() {
  const active = document.activeElement, kept = active && active.closest("#phases li") ? [[...$("phases").children].indexOf(active.closest("li")), active.className.split(" ")[0]] : null;
  const total = phases().reduce((sum, phase) => sum + weightOf(phase), 0);
  $("phases").replaceChildren(...phases().map((phase, index) => {
    const label = `${index + 1} ${labelOf(phase)}${phase.name ? ` (${phase.name})` : ""}`;
    const share = total > 0 ? (100 * weightOf(phase)) / total : 100 / phases().length;
    const small = (text, name, act, off, part) => el("button", { type: "button", class: `${part} small`, "aria-label": `${name} phase ${index + 1}, ${labelOf(phase)}`, title: name, disabled: off, onclick: act }, text);
    const row = el("div", { class: "row" },
      el("span", { class: "grip", "aria-hidden": "true" }, "≡"),
      el("button", { type: "button", class: "pick", "aria-pressed": String(index === selected), onclick: () => after(() => { selected = index; keep(); show(); }) }, label),
      el("span", { class: "number" }, `${share.toFixed(0)} %`),
      small("↑", "Move up", () => after(() => move(index, index - 1, "up")), index === 0, "up"),
      small("↓", "Move down", () => after(() => move(index, index + 1, "down")), index === phases().length - 1, "down"),
      small("Duplicate", "Duplicate", () => after(() => duplicate(index)), false, "twin"),
      small("×", "Remove", () => after(() => remove(index)), false, "gone"));
    const item = el("li", { draggable: "true", "aria-current": index === selected ? "true" : null }, row);
    item.addEventListener("dragstart", (event) => { dragged = index; event.dataTransfer.effectAllowed = "move"; event.dataTransfer.setData("text/plain", label); });
    item.addEventListener("dragover", (event) => { if (dragged >= 0) { event.preventDefault(); item.classList.add("over"); } });
    item.addEventListener("dragleave", () => item.classList.remove("over"));
    item.addEventListener("drop", (event) => { event.preventDefault(); const from = dragged; dragged = -1; after(() => move(from, index)); });
    item.addEventListener("dragend", () => { dragged = -1; document.querySelectorAll(".over").forEach((one) => one.classList.remove("over")); });
    item.addEventListener("keydown", (event) => {
      if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) { event.preventDefault(); after(() => move(index, index + (event.key === "ArrowUp" ? -1 : 1))); }
      else if (event.key === "Delete" && event.target.matches("button")) { event.preventDefault(); after(() => remove(index)); }
    });
    return item;
  }));
  if (kept && kept[0] >= 0) focusPhase(Math.min(kept[0], phases().length - 1), kept[1]);
  $("empty").hidden = phases().length > 0;
  showWeights(total);
}

function showWeights(total) {
  const shares = phases().map((phase) => (total > 0 ? (100 * weightOf(phase)) / total : 100 / phases().length));
  $("weights").setAttribute("aria-label", shares.length ? `Shares of the progress: ${phases().map((phase, index) => `${labelOf(phase)} ${shares[index].toFixed(0)} percent`).join(", ")}` : "No phases yet");
  const draw = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  let reached = 0;
  const parts = shares.map((share, index) => {
    const part = draw("svg", { x: `${reached}%`, width: `${Math.max(0.2, share - 0.4)}%`, height: 26 },
      draw("rect", { width: "100%", height: 8, rx: 4 }), draw("text", { y: 22 }, labelOf(phases()[index])));
    reached += share;
    return part;
  });
  $("weights").replaceChildren(...(parts.length ? [draw("svg", { "aria-hidden": "true" }, ...parts)] : []));
}

function showFindings() {
  document.querySelectorAll(".finding").forEach((one) => one.remove());
  for (const one of findings) {
    const text = [one.message, one.expected ? `expected ${one.expected}` : "", one.hint || ""].filter(Boolean).join("; ");
    const place = one.phase === null ? (one.line ? `line ${one.line}: ` : "") : "";
    const line = one.phase === null && one.line ? state.toml.split("\n")[one.line - 1] : undefined;
    const caret = line === undefined ? "" : `\n${line}\n${" ".repeat(Math.max(0, (one.column || 1) - 1))}^`;
    const shown = el("p", { class: `finding ${one.severity}` }, place + text + caret);
    if (one.fix && one.fix.add) shown.append(" ", el("button", { type: "button", class: "fix", onclick: () => after(() => add(one.fix.add, one.phase)) }, `Add ${types[one.fix.add] ? types[one.fix.add].label : one.fix.add} before`));
    if (one.fix && one.fix.move !== null) shown.append(" ", el("button", { type: "button", class: "fix", onclick: () => after(() => move(one.fix.move, one.phase)) }, `Move ${labelOf(phases()[one.fix.move] || {})} up`));
    const row = one.phase === null ? null : $("phases").children[one.phase];
    (row || $("findings")).append(shown);
  }
}

// ---- the form of a phase -----------------------------------------------------------------------------

function assign(table, key, value) {
  if (value === undefined) delete table[key]; else table[key] = value;
}

// The text may have taken the phase away while a field of it was typed in.
function set(index, key, value) {
  edit((draft) => draft.phase[index] && assign(draft.phase[index], key, value), true);
}

function setParam(index, key, value) {
  const params = { ...((phases()[index] || {}).params || {}) };
  assign(params, key, value);
  set(index, "params", Object.keys(params).length ? params : undefined);
}

// What a JSON Schema of a parameter asks for: `type` is that of one field of the form.
function shapeOf(schema) {
  const choices = (schema.anyOf || [schema]).filter((one) => one.type !== "null");
  const one = choices.length === 1 ? { ...schema, ...choices[0] } : { ...schema, type: "json" };
  const kind = one.enum ? "enum" : one.type === "array" && (one.items || {}).type === "string" ? "lines" : ["integer", "number", "string", "boolean"].includes(one.type) ? one.type : "json";
  return { ...one, kind };
}

function field(id, label, shape, value, set) {
  const onSet = (now) => { set(now); shown.key = formKey(); };
  const hint = shape.description || "";
  const help = hint ? el("span", { class: "help", id: `${id}-help` }, hint) : null;
  const about = { id, "aria-describedby": hint ? `${id}-help` : null };
  const unset = shape.default === undefined || shape.default === null ? "default" : `default (${shape.default})`;
  let input;
  if (shape.kind === "boolean" && shape.default === false) {
    input = watch(el("input", { ...about, type: "checkbox", checked: value === true }), () => onSet(input.checked ? true : undefined));
    return el("div", {}, el("label", { class: "check" }, input, label), help);
  }
  if (shape.kind === "boolean" || shape.kind === "enum") {
    const options = shape.kind === "enum" ? shape.enum : [true, false];
    const named = (one) => (one === true ? "yes" : one === false ? "no" : String(one));
    input = watch(el("select", about, el("option", { value: "" }, unset), ...options.map((one, index) => el("option", { value: String(index), selected: one === value }, named(one)))),
      () => onSet(input.value === "" ? undefined : options[Number(input.value)]));
  } else if (shape.kind === "lines" || shape.kind === "json") {
    input = watch(el("textarea", { ...about, rows: "3" }), () => {
      if (!input.value.trim()) return onSet(undefined);
      if (shape.kind === "lines") return onSet(input.value.split("\n").map((line) => line.trim()).filter(Boolean));
      let found;
      try { found = JSON.parse(input.value); } catch { input.setCustomValidity("This is not JSON."); }
      check(input, label);
      onSet(found);
    });
    input.value = value === undefined ? "" : shape.kind === "lines" && Array.isArray(value) ? value.join("\n") : JSON.stringify(value);
  } else {
    const isNumber = shape.kind !== "string";
    input = watch(el("input", { ...about, type: isNumber ? "number" : "text", placeholder: unset, step: shape.kind === "integer" ? "1" : isNumber ? "any" : null,
      min: shape.minimum !== undefined ? String(shape.minimum) : null, max: shape.maximum !== undefined ? String(shape.maximum) : null }),
    () => { check(input, label); onSet(input.value === "" ? undefined : isNumber ? Number(input.value) : input.value); });
    input.value = value === undefined ? "" : String(value);
  }
  return el("label", {}, label, input, help);
}

let isAdvanced = false; // whether the rare fields are open
let shown = {}; // what the form shows: a field that somebody is in is not made anew without need
const formKey = () => JSON.stringify([selected, phases()[selected]]);

function showForm() {
  if (shown.key === formKey()) return;
  const phase = phases()[selected], isSame = shown.index === selected;
  shown = { index: selected, key: formKey() };
  const form = $("form");
  if (!phase) { $("form-title").textContent = "Phase"; form.replaceChildren(el("p", {}, "Choose a phase to see its parameters.")); return; }
  const focused = form.contains(document.activeElement) ? document.activeElement.id : "", values = typedValues();
  [...typed].filter((input) => form.contains(input)).forEach((input) => typed.delete(input));
  const kind = typeOf(phase), index = selected, params = phase.params || {};
  $("form-title").textContent = `Phase ${index + 1}: ${labelOf(phase)}`;
  const fields = kind ? Object.entries(kind.schema.properties || {}).map(([name, schema]) => field(`param-${name}`, name.replaceAll("_", " "), shapeOf(schema), params[name], (value) => setParam(index, name, value))) : [];
  const unknown = Object.keys(params).filter((name) => kind && !(name in (kind.schema.properties || {})));
  form.replaceChildren(
    kind ? el("p", { class: "help" }, kind.description) : el("p", { class: "error" }, `There is no job type ${phase.job}.`),
    ...fields,
    ...unknown.map((name) => el("p", { class: "error" }, `${name} is no parameter of it. `, el("button", { type: "button", onclick: () => after(() => setParam(index, name, undefined)) }, `Remove ${name}`))),
    el("details", { class: "advanced", open: isAdvanced, ontoggle: (event) => { isAdvanced = event.target.open; } }, el("summary", {}, "Advanced: name, weight, on error, retries"),
    field("phase-name", "name", { kind: "string", description: "Name of the phase (default: the job's name)." }, phase.name, (value) => set(index, "name", value)),
    field("phase-weight", "weight", { kind: "number", minimum: 0, maximum: 1000000, default: kind ? kind.weight : undefined, description: "Its share of the chain's progress, relative to the others." }, phase.weight, (value) => set(index, "weight", value)),
    field("phase-on_error", "on error", { kind: "enum", enum: ["stop", "continue"], default: "stop", description: "If the phase fails: stop the chain, or continue with the next phase." }, phase.on_error, (value) => set(index, "on_error", value)),
    field("phase-retries", "retries", { kind: "integer", minimum: 0, maximum: 100, description: "Retries after a transient error." }, phase.retries, (value) => set(index, "retries", value))));
  if (isSame) typeAgain(values.filter(([id]) => form.contains($(id))));
  if (focused && $(focused)) $(focused).focus();
}

// ---- the whole ---------------------------------------------------------------------------------------

function showHead() {
  const put = (id, value) => { if (!typed.has($(id))) $(id).value = value; };
  put("name", state.draft.name || "");
  put("description", state.draft.description || "");
  put("source", "");
  if (!typed.has($("resumable"))) $("resumable").checked = state.draft.resumable !== false;
  $("delete").hidden = !state.file.name;
  $("redo").disabled = !future.length;
  showFile();
}

function showSources() {
  const first = phases()[0], makes = first && typeOf(first) && typeOf(first).makes_source;
  $("source").placeholder = makes ? "id, also of a new source" : "id";
  const chosen = sourcesOf(state.draft);
  const { chosen: was, source: other } = document.activeElement.dataset, held = was || other;
  document.querySelectorAll("[data-source]").forEach((one) => { one.hidden = chosen.includes(one.dataset.source); });
  $("sources").replaceChildren(...chosen.map((id) => el("button", { type: "button", "data-chosen": id, "aria-label": `Remove source ${id}`, onclick: () => after(() => setSources(sourcesOf(state.draft).filter((one) => one !== id))) }, `${id} ×`)));
  // A source moves from one list to the other: whoever uses keys goes with it.
  if (!held) return;
  const same = [...document.querySelectorAll("[data-chosen], [data-source]:not([hidden])")].find((one) => (one.dataset.chosen || one.dataset.source) === held);
  (same || $("source")).focus();
}

// Whether the file says what is on the page, down to the last letter that was typed.
const isSaved = () => state.file.name !== "" && !typed.size && !isBehind && state.file.text === (isUnread ? $("toml").value : state.toml);

function showFile() {
  const { name } = state.file;
  $("file").textContent = name ? `${name}.toml${isSaved() ? "" : ", changed"}` : "new chain, not saved";
  $("undo").disabled = !past.length && !typed.size && !isUnread;
  const said = isSaved() ? name.replaceAll("_", "-") : `${plain(state.draft.name) || "chain"}.toml`;
  $("command").textContent = `kbjobs chain ${said}${$("resume").checked ? " --resume" : ""}`;
}

function showText() {
  const box = $("toml"), at = box.selectionStart;
  if (isUnread || box.value === state.toml) return;
  box.value = state.toml;
  box.setSelectionRange(at, at);
  showLines();
}

function showLines() {
  const count = $("toml").value.split("\n").length;
  $("lines").textContent = Array.from({ length: count }, (_, index) => index + 1).join("\n");
  $("lines").scrollTop = $("toml").scrollTop;
}

function setSources(ids) {
  edit((draft) => {
    delete draft.source;
    delete draft.sources;
    if (ids.length === 1) draft.source = ids[0];
    if (ids.length > 1) draft.sources = ids;
  }, true);
}

function addSource() {
  const id = $("source").value.trim();
  $("source").value = "";
  if (id) setSources([...new Set([...sourcesOf(state.draft), id])]);
}

function show() {
  showHead();
  showSources();
  showPhases();
  showForm();
  showFindings();
}

// After a field is left, the page is redrawn once that event is over.
let soon = null;
function showSoon() {
  clearTimeout(soon);
  soon = setTimeout(() => (isPressed() ? showSoon() : show()), 20);
}

function wire() {
  const on = (id, act) => $(id).addEventListener("click", act);
  document.querySelectorAll("[data-add]").forEach((button) => button.addEventListener("click", () => after(() => add(button.dataset.add))));
  document.querySelectorAll("[data-open]").forEach((button) => button.addEventListener("click", () => act("Open", () => load(() => open(button.dataset.open)).then(gather))));
  $("filter").addEventListener("input", () => {
    const words = $("filter").value.toLowerCase();
    document.querySelectorAll(".palette li").forEach((one) => { one.hidden = !one.textContent.toLowerCase().includes(words) && !one.firstChild.title.toLowerCase().includes(words); });
    document.querySelectorAll(".category").forEach((one) => { one.hidden = !one.querySelector("li:not([hidden])"); });
  });
  $("filter").addEventListener("keydown", (event) => {
    const found = [...document.querySelectorAll(".palette li:not([hidden]) button")], words = $("filter").value.toLowerCase();
    const first = found.find((one) => one.textContent.toLowerCase().includes(words)) || found[0];
    if (event.key !== "Enter" || !$("filter").value || !first) return;
    event.preventDefault();
    first.click();
  });
  document.querySelectorAll("[data-source]").forEach((one) => one.addEventListener("click", () => after(() => setSources([...sourcesOf(state.draft), one.dataset.source]))));
  on("sheet", () => showSheet(!document.body.classList.contains("sheet")));
  const top = (id, key, value) => watch($(id), () => edit((draft) => assign(draft, key, value($(id))), true));
  top("name", "name", (input) => input.value.trim() || undefined);
  top("description", "description", (input) => input.value.trim() || undefined);
  top("resumable", "resumable", (input) => (input.checked ? undefined : false));
  watch($("source"), addSource);
  on("add-source", () => after(() => {}));
  $("source").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); after(() => {}); } });
  on("undo", undo);
  on("redo", redo);
  on("new", () => act("New", () => replaceAll(empty())));
  on("validate", () => act("Validate", () => validate(true)));
  on("forecast", () => act("Price and time", forecast));
  let saving = Promise.resolve(); // one after the other: the second click is not refused for what the first has written
  on("save", () => { saving = saving.then(() => act("Save", save)); });
  on("delete", () => { saving = saving.then(() => act("Delete", removeChain)); });
  on("run", () => { $("run").disabled = true; act("Run", run).finally(() => { $("run").disabled = false; }); });
  $("resume").addEventListener("change", showFile);
  on("copy", () => act("Copy", copyCommand));
  on("export", () => act("Export", exportFile));
  on("import", () => $("import-file").click());
  $("import-file").addEventListener("change", () => act("Import", () => load(importFile)));
  $("toml").addEventListener("scroll", () => { $("lines").scrollTop = $("toml").scrollTop; });
  $("toml").addEventListener("input", () => { showLines(); isUnread = true; touch(); clearTimeout(pause); pause = setTimeout(() => gather().catch(complain), PAUSE_MS); });
  $("toml").addEventListener("change", () => gather().catch(complain));
  addEventListener("pagehide", keep);
  $("form").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const isText = event.target.matches("textarea, input:not([type=checkbox])");
    if (!isText && event.key === "?") tell("Alt+↑ and Alt+↓ move a phase, Delete removes it, Ctrl+Z undoes, Ctrl+Shift+Z does it again.");
    if (event.key === "Escape") showSheet(false);
    if (isText || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) redo(); else undo();
  });
}

async function begin() {
  try {
    const found = await ask("GET", `${API}/schemas`);
    types = Object.fromEntries(found.types.map((one) => [one.name, one]));
  } catch (error) {
    tell(error.message);
    return;
  }
  const kept = JSON.parse(sessionStorage.getItem(STORE)) || {};
  if (kept.state) ({ state, base, selected, isBehind } = kept);
  isUnread = typeof kept.text === "string";
  wire();
  $("toml").value = kept.text ?? state.toml;
  show();
  typeAgain(kept.typed || []);
  if (isBehind && !isUnread) sync().catch(complain); else later();
  showLines();
  const asked = new URLSearchParams(location.search), source = asked.get("source"), job = Number(asked.get("job"));
  if (job) {
    history.replaceState(null, "", location.pathname); // a reload keeps what was changed since
    await act("Open", () => load(() => openJob(job)));
  }
  if (source && !sourcesOf(state.draft).length) setSources([source]);
  document.body.dataset.ready = "yes";
}

begin();
