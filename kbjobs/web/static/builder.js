// The builder: a draft is the tables of a chain file. The form changes the draft, the server writes it into the text.
const { ask, tell, span } = window.kbjobs;
const $ = (id) => document.getElementById(id);
const API = "/api/job-builder";
const STORE = "kbjobs-draft";
const NAME = /^[a-z][a-z0-9_-]{0,63}$/;
const MOST_UNDO = 100;

let types = {}; // by name
let state = empty(); // { toml, draft, version, isSaved }
let selected = -1;
let findings = [];
let past = [], future = [];
let turn = 0; // of the last change: an answer to an earlier one is of no use any more

function empty() {
  return { toml: "", draft: { phase: [] }, version: null, saved: "" };
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

async function edit(change) {
  const draft = copy(state.draft);
  if (!Array.isArray(draft.phase)) draft.phase = [];
  draft.phase.forEach((phase, index) => { phase._from = base.origins[index] ?? null; });
  remember();
  change(draft);
  base.origins = draft.phase.map((phase) => phase._from ?? null);
  draft.phase.forEach((phase) => delete phase._from);
  if (!draft.phase.length) delete draft.phase;
  state = { ...state, draft };
  show();
  return sync();
}

async function sync() {
  const mine = ++turn;
  try {
    const found = await ask("POST", `${API}/edit`, { toml: base.toml, draft: state.draft, origins: base.origins });
    if (mine === turn) settle(found.toml);
  } catch (error) {
    if (mine === turn) tell(error.message);
  }
}

function settle(toml) {
  state.toml = toml;
  base = { toml, origins: phases().map((_, index) => index) };
  if (document.activeElement !== $("toml")) $("toml").value = toml;
  keep();
  showHead();
  later();
}

const snapshot = () => copy({ draft: state.draft, base });

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
  state = { ...state, draft: before.draft };
  selected = Math.min(selected, phases().length - 1);
  show();
  return sync();
}

async function readText(toml) {
  const mine = ++turn;
  try {
    const { draft } = await ask("POST", `${API}/parse`, { toml });
    if (mine !== turn) return;
    remember();
    state = { ...state, draft, toml };
    base = { toml, origins: phases().map((_, index) => index) };
    selected = Math.min(selected, phases().length - 1);
    show();
    keep();
    later();
  } catch (error) {
    if (mine !== turn) return;
    tell(`TOML: ${error.message}`);
  }
}

function keep() {
  localStorage.setItem(STORE, JSON.stringify({ ...state, selected }));
}

// ---- asking the server what it makes of it ---------------------------------------------------------

let timer = null;
function later() {
  clearTimeout(timer);
  timer = setTimeout(() => validate(false), 400);
}

async function validate(isAsked) {
  if (!phases().length) { findings = []; show(); return true; }
  try {
    const found = await ask("POST", `${API}/validate`, { toml: state.toml });
    findings = found.findings;
    showFindings();
    if (isAsked) tell(found.valid ? (findings.length ? `Valid, ${findings.length} to consider.` : "Valid.") : `${findings.filter((one) => one.severity === "error").length} to mend.`);
    return found.valid;
  } catch (error) {
    if (isAsked) tell(error.message);
    return false;
  }
}

async function forecast() {
  $("outlook").textContent = "Counting…";
  try {
    const { forecasts } = await ask("POST", `${API}/forecast`, { toml: state.toml });
    $("outlook").replaceChildren(...forecasts.map(showForecast));
  } catch (error) {
    $("outlook").textContent = "";
    tell(error.message);
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
  $("run").disabled = true;
  try {
    const found = await ask("POST", `${API}/run`, { toml: state.toml, resume: $("resume").checked });
    location.href = found.jobs.length === 1 ? `/jobs/${found.id}` : "/jobs";
  } catch (error) {
    tell(error.message);
    await validate(false);
  }
  $("run").disabled = false;
}

async function save() {
  const name = plain(state.draft.name);
  if (!NAME.test(name)) { tell("Give the chain a name: a–z, 0–9, '-' and '_', a letter first."); $("name").focus(); return; }
  const version = name === state.saved ? state.version : null;
  try {
    const found = await ask("PUT", `/api/chains/${name}`, { toml: state.toml, version });
    state = { ...state, version: found.version, saved: name, clean: state.toml };
    tell(`Saved as ${name}.toml in chains/ of the home.`);
    keep();
    show();
  } catch (error) {
    tell(error.status === 409 ? `${error.message} What is here stays here.` : error.message);
  }
}

async function removeChain() {
  if (!confirm(`Delete ${state.saved}.toml from chains/? What is here stays here.`)) return;
  try {
    await ask("DELETE", `/api/chains/${state.saved}`);
    tell(`${state.saved}.toml is deleted.`);
    state = { ...state, version: null, saved: "" };
    keep();
    show();
  } catch (error) {
    tell(error.message);
  }
}

async function open(name) {
  try {
    const found = await ask("GET", `/api/chains/${name}`);
    replaceAll({ toml: found.toml, draft: found.draft || { phase: [] }, version: found.version, saved: found.origin === "home" ? found.name : "", clean: found.toml });
    if (found.draft === null) { $("text-details").open = true; readText(found.toml); }
    tell(found.origin === "home" ? "" : `${name} is built in: saved, it becomes a chain of yours that takes its place.`);
  } catch (error) {
    tell(error.message);
  }
}

function replaceAll(next) {
  remember();
  turn++;
  state = next;
  selected = phases().length ? 0 : -1;
  $("outlook").textContent = "";
  $("toml").value = state.toml;
  show();
  settle(state.toml);
}

// ---- phases --------------------------------------------------------------------------------------

function add(job, at = phases().length) {
  selected = at;
  edit((draft) => draft.phase.splice(at, 0, { job }));
  tell(`${types[job] ? types[job].label : job} is phase ${at + 1}.`);
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
      el("button", { type: "button", class: "pick", "aria-pressed": String(index === selected), onclick: () => { selected = index; keep(); show(); } }, label),
      el("span", { class: "number" }, `${share.toFixed(0)} %`),
      small("↑", "Move up", () => move(index, index - 1, "up"), index === 0, "up"),
      small("↓", "Move down", () => move(index, index + 1, "down"), index === phases().length - 1, "down"),
      small("Duplicate", "Duplicate", () => duplicate(index), false, "twin"),
      small("×", "Remove", () => remove(index), false, "gone"));
    const item = el("li", { draggable: "true", "aria-current": index === selected ? "true" : null }, row);
    item.addEventListener("dragstart", (event) => { dragged = index; event.dataTransfer.effectAllowed = "move"; event.dataTransfer.setData("text/plain", label); });
    item.addEventListener("dragover", (event) => { if (dragged >= 0) { event.preventDefault(); item.classList.add("over"); } });
    item.addEventListener("dragleave", () => item.classList.remove("over"));
    item.addEventListener("drop", (event) => { event.preventDefault(); const from = dragged; dragged = -1; move(from, index); });
    item.addEventListener("dragend", () => { dragged = -1; document.querySelectorAll(".over").forEach((one) => one.classList.remove("over")); });
    item.addEventListener("keydown", (event) => {
      if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) { event.preventDefault(); move(index, index + (event.key === "ArrowUp" ? -1 : 1)); }
      else if (event.key === "Delete" && event.target.matches("button")) { event.preventDefault(); remove(index); }
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
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  let reached = 0;
  for (const share of shares) {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of [["x", reached], ["width", share], ["height", 16]]) rect.setAttribute(name, value);
    svg.append(rect);
    reached += share;
  }
  $("weights").replaceChildren(...(shares.length ? [svg] : []));
}

function showFindings() {
  document.querySelectorAll(".finding").forEach((one) => one.remove());
  for (const one of findings) {
    const text = [one.message, one.expected ? `expected ${one.expected}` : "", one.hint || ""].filter(Boolean).join("; ");
    const place = one.phase === null ? (one.line ? `line ${one.line}: ` : "") : "";
    const shown = el("p", { class: `finding ${one.severity}` }, place + text);
    if (one.fix && one.fix.add) shown.append(" ", el("button", { type: "button", class: "fix", onclick: () => add(one.fix.add, one.phase) }, `Add ${types[one.fix.add] ? types[one.fix.add].label : one.fix.add} before`));
    if (one.fix && one.fix.move !== null) shown.append(" ", el("button", { type: "button", class: "fix", onclick: () => move(one.fix.move, one.phase) }, `Move ${labelOf(phases()[one.fix.move] || {})} up`));
    const row = one.phase === null ? null : $("phases").children[one.phase];
    (row || $("findings")).append(shown);
  }
}

// ---- the form of a phase -----------------------------------------------------------------------------

function set(index, key, value) {
  edit((draft) => { if (value === undefined) delete draft.phase[index][key]; else draft.phase[index][key] = value; });
}

function setParam(index, key, value) {
  edit((draft) => {
    const params = { ...(draft.phase[index].params || {}) };
    if (value === undefined) delete params[key]; else params[key] = value;
    if (Object.keys(params).length) draft.phase[index].params = params; else delete draft.phase[index].params;
  });
}

// What a JSON Schema of a parameter asks for: `type` is that of one field of the form.
function shapeOf(schema) {
  const choices = (schema.anyOf || [schema]).filter((one) => one.type !== "null");
  const one = choices.length === 1 ? { ...schema, ...choices[0] } : { ...schema, type: "json" };
  const kind = one.enum ? "enum" : one.type === "array" && (one.items || {}).type === "string" ? "lines" : ["integer", "number", "string", "boolean"].includes(one.type) ? one.type : "json";
  return { ...one, kind };
}

function field(id, label, shape, value, onSet) {
  const hint = shape.description || "";
  const help = hint ? el("span", { class: "help", id: `${id}-help` }, hint) : null;
  const about = { id, "aria-describedby": hint ? `${id}-help` : null };
  const unset = shape.default === undefined || shape.default === null ? "default" : `default (${shape.default})`;
  let input;
  if (shape.kind === "boolean" && shape.default === false) {
    input = el("input", { ...about, type: "checkbox", checked: value === true, onchange: () => onSet(input.checked ? true : undefined) });
    return el("div", {}, el("label", { class: "check" }, input, label), help);
  }
  if (shape.kind === "boolean" || shape.kind === "enum") {
    const options = shape.kind === "enum" ? shape.enum : [true, false];
    const named = (one) => (one === true ? "yes" : one === false ? "no" : String(one));
    input = el("select", { ...about, onchange: () => onSet(input.value === "" ? undefined : options[Number(input.value)]) },
      el("option", { value: "" }, unset), ...options.map((one, index) => el("option", { value: String(index), selected: one === value }, named(one))));
  } else if (shape.kind === "lines" || shape.kind === "json") {
    input = el("textarea", { ...about, rows: "3", onchange: () => {
      if (!input.value.trim()) return onSet(undefined);
      if (shape.kind === "lines") return onSet(input.value.split("\n").map((line) => line.trim()).filter(Boolean));
      try { input.setCustomValidity(""); onSet(JSON.parse(input.value)); } catch { input.setCustomValidity("This is not JSON."); input.reportValidity(); }
    } });
    input.value = value === undefined ? "" : shape.kind === "lines" && Array.isArray(value) ? value.join("\n") : JSON.stringify(value);
  } else {
    const isNumber = shape.kind !== "string";
    input = el("input", { ...about, type: isNumber ? "number" : "text", placeholder: unset, step: shape.kind === "integer" ? "1" : isNumber ? "any" : null,
      min: shape.minimum !== undefined ? String(shape.minimum) : null, max: shape.maximum !== undefined ? String(shape.maximum) : null,
      onchange: () => { if (input.reportValidity()) onSet(input.value === "" ? undefined : isNumber ? Number(input.value) : input.value); } });
    input.value = value === undefined ? "" : String(value);
  }
  return el("label", {}, label, input, help);
}

function showForm() {
  const phase = phases()[selected];
  const form = $("form");
  if (!phase) { $("form-title").textContent = "Phase"; form.replaceChildren(el("p", {}, "Choose a phase to see its parameters.")); return; }
  const focused = form.contains(document.activeElement) ? document.activeElement.id : "";
  const kind = typeOf(phase), index = selected, params = phase.params || {};
  $("form-title").textContent = `Phase ${index + 1}: ${labelOf(phase)}`;
  const fields = kind ? Object.entries(kind.schema.properties || {}).map(([name, schema]) => field(`param-${name}`, name.replaceAll("_", " "), shapeOf(schema), params[name], (value) => setParam(index, name, value))) : [];
  const unknown = Object.keys(params).filter((name) => kind && !(name in (kind.schema.properties || {})));
  form.replaceChildren(
    kind ? el("p", { class: "help" }, kind.description) : el("p", { class: "error" }, `There is no job type ${phase.job}.`),
    ...fields,
    ...unknown.map((name) => el("p", { class: "error" }, `${name} is no parameter of it. `, el("button", { type: "button", onclick: () => setParam(index, name, undefined) }, `Remove ${name}`))),
    field("phase-name", "name", { kind: "string", description: "What the phase is called; default: the job's name." }, phase.name, (value) => set(index, "name", value)),
    field("phase-weight", "weight", { kind: "number", minimum: 0, maximum: 1000000, default: kind ? kind.weight : undefined, description: "Its share of the progress, in proportion to the others." }, phase.weight, (value) => set(index, "weight", value)),
    field("phase-on_error", "on error", { kind: "enum", enum: ["stop", "continue"], default: "stop", description: "What a failure does: stop the chain, or continue with the next phase." }, phase.on_error, (value) => set(index, "on_error", value)),
    field("phase-retries", "retries", { kind: "integer", minimum: 0, maximum: 100, description: "How often a transient error is tried again." }, phase.retries, (value) => set(index, "retries", value)));
  if (focused && $(focused)) $(focused).focus();
}

// ---- the whole ---------------------------------------------------------------------------------------

function showHead() {
  const put = (id, value) => { if (document.activeElement !== $(id)) $(id).value = value; };
  put("name", state.draft.name || "");
  put("description", state.draft.description || "");
  $("resumable").checked = state.draft.resumable !== false;
  $("file").textContent = state.saved ? `${state.saved}.toml${state.clean === state.toml ? "" : ", changed"}` : "new chain, not saved";
  $("delete").hidden = !state.saved;
  $("undo").disabled = !past.length;
  $("redo").disabled = !future.length;
  const first = phases()[0], makes = first && typeOf(first) && typeOf(first).makes_source;
  $("source").placeholder = makes ? "id, also of a new source" : "id";
  $("sources").replaceChildren(...sourcesOf(state.draft).map((id) => el("button", { type: "button", "aria-label": `Remove source ${id}`, onclick: () => setSources(sourcesOf(state.draft).filter((one) => one !== id)) }, `${id} ×`)));
  const isClean = state.saved && state.clean === state.toml;
  const name = isClean ? state.saved.replaceAll("_", "-") : `${plain(state.draft.name) || "chain"}.toml`;
  $("command").textContent = `kbjobs chain ${name}${$("resume").checked ? " --resume" : ""}`;
}

function setSources(ids) {
  edit((draft) => {
    delete draft.source;
    delete draft.sources;
    if (ids.length === 1) draft.source = ids[0];
    if (ids.length > 1) draft.sources = ids;
  });
}

function addSource() {
  const id = $("source").value.trim();
  if (!id) return;
  $("source").value = "";
  setSources([...new Set([...sourcesOf(state.draft), id])]);
}

function show() {
  showHead();
  showPhases();
  showForm();
  showFindings();
}

function wire() {
  document.querySelectorAll("[data-add]").forEach((button) => button.addEventListener("click", () => add(button.dataset.add)));
  document.querySelectorAll("[data-open]").forEach((button) => button.addEventListener("click", () => open(button.dataset.open)));
  $("filter").addEventListener("input", () => {
    const words = $("filter").value.toLowerCase();
    document.querySelectorAll(".palette li").forEach((one) => { one.hidden = !one.textContent.toLowerCase().includes(words) && !one.firstChild.title.toLowerCase().includes(words); });
  });
  const top = (id, key, value) => $(id).addEventListener("change", () => edit((draft) => { const now = value($(id)); if (now === undefined) delete draft[key]; else draft[key] = now; }));
  top("name", "name", (input) => input.value.trim() || undefined);
  top("description", "description", (input) => input.value.trim() || undefined);
  top("resumable", "resumable", (input) => (input.checked ? undefined : false));
  $("add-source").addEventListener("click", addSource);
  $("source").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); addSource(); } });
  $("undo").addEventListener("click", () => step(past, future));
  $("redo").addEventListener("click", () => step(future, past));
  $("new").addEventListener("click", () => replaceAll(empty()));
  $("validate").addEventListener("click", () => validate(true));
  $("forecast").addEventListener("click", forecast);
  $("save").addEventListener("click", save);
  $("delete").addEventListener("click", removeChain);
  $("run").addEventListener("click", run);
  $("resume").addEventListener("change", showHead);
  $("copy").addEventListener("click", () => navigator.clipboard.writeText($("command").textContent).then(() => tell("Copied."), () => tell("The browser does not allow it: select the command and copy it.")));
  $("export").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([state.toml], { type: "application/toml" }));
    el("a", { href: url, download: `${plain(state.draft.name) || "chain"}.toml` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  $("import").addEventListener("click", () => $("import-file").click());
  $("import-file").addEventListener("change", async () => {
    const file = $("import-file").files[0];
    $("import-file").value = "";
    if (!file) return;
    if (file.size > 256 * 1024) { tell(`${file.name} is larger than 256 KB: no chain file.`); return; }
    const toml = await file.text();
    try {
      const { draft } = await ask("POST", `${API}/parse`, { toml });
      replaceAll({ toml, draft, version: null, saved: "" });
    } catch (error) {
      tell(`${file.name}: ${error.message}`);
    }
  });
  let typing = null;
  $("toml").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => readText($("toml").value), 400); });
  $("form").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const isText = event.target.matches("textarea, input:not([type=checkbox])");
    if (isText || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) step(future, past); else step(past, future);
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
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) || "null");
    if (kept && typeof kept.toml === "string" && kept.draft) { selected = kept.selected ?? -1; delete kept.selected; state = { ...empty(), ...kept }; }
  } catch {
    localStorage.removeItem(STORE);
  }
  wire();
  $("toml").value = state.toml;
  base = { toml: state.toml, origins: phases().map((_, index) => index) };
  show();
  later();
  const source = new URLSearchParams(location.search).get("source");
  if (source && !sourcesOf(state.draft).length) setSources([source]);
  document.body.dataset.ready = "yes";
}

begin();
