// Every page: buttons that ask the API, what happens as it happens, the theme, the log of a job.
"use strict";
document.documentElement.classList.add("scripts");
const $ = (id) => document.getElementById(id);
const REFRESH_MS = 1000;
const ENDS = ["completed", "failed", "cancelled", "interrupted"];

function tell(text) { $("told").textContent = text; }

async function ask(method, url, body) {
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("kbjobs builder does not answer. Does it still run, and is the port still forwarded?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error([found.detail || answer.statusText, found.hint].filter(Boolean).join("\n"));
    error.status = answer.status;
    throw error;
  }
  return found;
}

// Buttons that do something to a job, several jobs or a source.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.act");
  if (!button || (button.dataset.confirm && !confirm(button.dataset.confirm))) return;
  button.disabled = true;
  try {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    if (button.classList.contains("bulk")) body.ids = [...chosen];
    if (button.dataset.filter !== undefined) {
      for (const [name, value] of new URLSearchParams(button.dataset.filter))
        if (body[name] === undefined) body[name] = name === "days" ? Number(value) : value;
    }
    const found = await ask("POST", button.dataset.post, body);
    const done = found.jobs ? `${found.jobs.length} done.` : "Done.";
    const refused = (found.refused || []).map((one) => `job ${one.id}: ${one.message}`);
    tell([done, ...refused].join("\n"));
    if (button.classList.contains("bulk")) chosen.clear();
  } catch (error) {
    tell(error.message);
  }
  button.disabled = false;
  refresh();
});

// Jobs that are chosen, for what is done to several at once.
const chosen = new Set();

function showChosen() {
  const bar = $("chosen");
  if (!bar) return;
  const boxes = [...document.querySelectorAll("[data-pick]")];
  const there = new Set(boxes.map((box) => Number(box.dataset.pick)));
  for (const id of chosen) if (!there.has(id)) chosen.delete(id);
  boxes.forEach((box) => { box.checked = chosen.has(Number(box.dataset.pick)); });
  bar.hidden = !chosen.size;
  $("chosen-count").textContent = `${chosen.size} chosen:`;
}

document.addEventListener("change", (event) => {
  if (event.target.dataset.pick === undefined) return;
  const id = Number(event.target.dataset.pick);
  if (event.target.checked) chosen.add(id); else chosen.delete(id);
  showChosen();
});
document.addEventListener("click", (event) => {
  if (event.target.id !== "chosen-none") return;
  chosen.clear();
  showChosen();
});

// The server tells moments in UTC; people read their own time, and of the last day how long ago it was.
const DAY_MS = 86400000;
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function showTimes() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(one.dateTime), left = moment - Date.now();
    if (Number.isNaN(left)) continue;
    one.title ||= one.textContent;
    if (Math.abs(left) >= DAY_MS) one.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    else if (left > 0) one.textContent = moment.toLocaleTimeString(undefined, { timeStyle: "short" });
    else if (left > -60000) one.textContent = "just now";
    else if (left > -3600000) one.textContent = relative.format(Math.round(left / 60000), "minute");
    else one.textContent = relative.format(Math.round(left / 3600000), "hour");
  }
}

// What the page shows is made by the server: it is asked again, and put in the place of what was there.
let isPaused = false, timer = null, last = 0, wanted = false;

function refresh() {
  const main = $("main");
  if (isPaused || main.dataset.live === undefined) return;
  wanted = true;
  if (timer !== null) return;
  timer = setTimeout(replace, Math.max(0, last + REFRESH_MS - Date.now()));
}

// Within a click nothing is replaced.
let pressed = 0;
const isPressed = () => Date.now() - pressed < 1000;
for (const one of ["pointerdown", "click", "pointercancel"])
  document.addEventListener(one, () => { pressed = one === "pointerdown" ? Date.now() : 0; }, true);

async function replace() {
  wanted = false;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = $("main"), fresh = page.getElementById("main");
    const focused = document.activeElement, id = focused && main.contains(focused) ? focused.id : "";
    const isTyping = main.contains(focused) && !focused.closest("form") && ["INPUT", "SELECT", "TEXTAREA"].includes(focused.tagName) && focused.type !== "checkbox";
    if (isPressed()) { wanted = true; return; }
    if (isPaused || isTyping || !fresh) return;
    $("daemon").replaceChildren(...page.getElementById("daemon").childNodes);
    const log = $("log"), freshLog = fresh.querySelector("#log");
    const scroll = log ? log.scrollTop : 0;
    if (log && freshLog) freshLog.replaceWith(log);
    const open = [...main.querySelectorAll("details[id][open]")].map((one) => one.id);
    const find = $("log-find") ? $("log-find").value : "";
    put(fresh, main);
    open.forEach((one) => { if ($(one)) $(one).open = true; });
    if ($("log-find")) $("log-find").value = find;
    showTimes();
    showChosen();
    showLogTools();
    if (log) log.scrollTop = scroll;
    if (id && $(id)) $(id).focus({ preventScroll: true });
  } catch {
    // The stream of events says when it answers again.
  } finally {
    timer = null;
    if (wanted) refresh();
  }
}

// A form stays as it is: somebody may be filling it in.
function put(fresh, main) {
  const form = main.querySelector(":scope > form"), freshForm = fresh.querySelector(":scope > form");
  if (!form || !freshForm) { main.replaceChildren(...fresh.childNodes); return; }
  const made = [...fresh.childNodes], at = made.indexOf(freshForm);
  for (const one of [...main.childNodes]) if (one !== form) one.remove();
  form.before(...made.slice(0, at));
  form.after(...made.slice(at + 1));
}

function patch(job) {
  const set = (name, text) => document.querySelectorAll(`[data-${name}="${Number(job.id)}"]`).forEach((one) => { one.textContent = text; });
  set("progress", `${job.progress} %`);
  if (job.phase && job.phase.total > 1) set("counts", `${job.phase.current.toLocaleString("en")} of ${job.phase.total.toLocaleString("en")} ${job.phase.unit}`);
  set("message", job.error || job.message);
  set("eta", job.eta_seconds === null ? "" : `${span(job.eta_seconds)} left`);
  document.querySelectorAll(`[data-bar="${Number(job.id)}"]`).forEach((bar) => {
    for (const one of bar.querySelectorAll(".done")) {
      const done = (100 * (job.progress - Number(one.dataset.from))) / Number(one.dataset.share);
      one.setAttribute("width", `${Math.min(100, Math.max(0, done))}%`);
    }
    bar.setAttribute("aria-label", `${job.progress} percent done`);
  });
}

function span(seconds) {
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60), pad = (number) => String(number).padStart(2, "0");
  return minutes < 60 ? `${minutes}m ${pad(seconds % 60)}s` : `${Math.floor(minutes / 60)}h ${pad(minutes % 60)}m`;
}

// Events. The browser connects again by itself, and says what it has seen last; after a sleep it may have given up.
const running = new Set();
let stream = null, wasLost = false;

function listen() {
  stream = new EventSource("/api/events");
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
  stream.onopen = () => { if (wasLost) { wasLost = false; tell(""); refresh(); } };
  stream.onerror = () => {
    wasLost = true;
    tell("No connection; retrying. This page may be out of date.");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
  on("hello", refresh);  // something may have happened since the page was made
  on("reset", refresh);
  on("daemon", refresh);
  on("job", (job) => { notice(job); if (!isPaused) patch(job); refresh(); readLog(job.id); });
  on("progress", (job) => { if (!isPaused) patch(job); readLog(job.id); });
}

function notice(job) {
  if (job.status === "running") running.add(job.id);
  if (!ENDS.includes(job.status) || !running.delete(job.id)) return;
  if ($("notify").getAttribute("aria-pressed") === "true" && Notification.permission === "granted")
    new Notification(`Job ${job.id} ${job.type.replaceAll("_", "-")} ${job.source || ""}: ${job.status}`, { body: job.error || job.message });
}

// The log of a job: read from where the last part ended.
const MOST_LOG = 500000;
const WARNS = /\b(?:WARNING|ERROR|CRITICAL)\b/;
let logAt = null, logAttempt = null, isReading = false;
let logText = "", onlyWarnings = false, follows = true;

// Lines that are asked for: those of warnings and errors, and those with the words.
function showLog() {
  const log = $("log"), words = $("log-find").value.toLowerCase();
  const lines = logText.split("\n").filter((line) => (!onlyWarnings || WARNS.test(line)) && line.toLowerCase().includes(words));
  log.textContent = (onlyWarnings || words ? lines.join("\n") : logText) || (logText ? "No line of the log matches." : "Nothing yet.");
  if (follows) log.scrollTop = log.scrollHeight;
}

function showLogTools() {
  for (const id of ["log-find", "log-warnings", "log-follow"]) if ($(id)) $(id).hidden = false;
  if ($("log-warnings")) $("log-warnings").setAttribute("aria-pressed", String(onlyWarnings));
  if ($("log-follow")) $("log-follow").setAttribute("aria-pressed", String(follows));
}

document.addEventListener("input", (event) => { if (event.target.id === "log-find") showLog(); });
document.addEventListener("click", (event) => {
  if (event.target.id === "log-warnings") onlyWarnings = !onlyWarnings;
  else if (event.target.id === "log-follow") follows = !follows;
  else return;
  showLogTools();
  showLog();
});

async function readLog(jobId) {
  const log = $("log");
  if (!log || Number(log.dataset.log) !== jobId || isReading || isPaused) return;
  isReading = true;
  try {
    for (;;) {
      const from = logAt === null ? "" : `?offset=${logAt}`;
      const part = await ask("GET", `/api/jobs/${jobId}/log${from}`);
      if (logAttempt !== part.attempt) {
        const isNew = logAttempt !== null;
        logAttempt = part.attempt;
        logText = "";
        if (isNew && logAt) { logAt = 0; continue; }
      }
      logText = (logText + part.text).slice(-MOST_LOG);
      logAt = part.offset;
      if (part.offset >= part.size) break;
    }
    showLog();
  } catch (error) {
    if (logAt === null) log.textContent = error.message;
  } finally {
    isReading = false;
  }
}

function toggle(button, act) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const isOn = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isOn));
    act(isOn);
  });
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = { auto: "◐", light: "☀", dark: "☾" }[theme];
  $("theme").ariaLabel = $("theme").title = `Theme: ${theme}`;
  localStorage.setItem("kbjobs-theme", theme);
}

const THEMES = ["auto", "light", "dark"];
setTheme(THEMES.includes(localStorage.getItem("kbjobs-theme")) ? localStorage.getItem("kbjobs-theme") : "auto");
$("theme").hidden = false;
$("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(localStorage.getItem("kbjobs-theme")) + 1) % 3]));
toggle($("pause"), (isOn) => { isPaused = isOn; if (!isOn) refresh(); });
if ("Notification" in window)
  toggle($("notify"), async (isOn) => {
    if (isOn && (await Notification.requestPermission()) !== "granted") {
      $("notify").setAttribute("aria-pressed", "false");
      tell("The browser does not allow notifications for this page.");
    }
  });
document.querySelectorAll(".state.running").forEach((one) => {
  const row = one.closest("[data-job]");
  if (row) running.add(Number(row.dataset.job));
});
showTimes();
showLogTools();
setInterval(showTimes, 30000);
if ($("log")) readLog(Number($("log").dataset.log));
listen();
window.kbjobs = { ask, tell, span, isPressed };
