// Every page: buttons that ask the API, what happens as it happens, the theme, the log of a job.
"use strict";
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
    if (button.dataset.filter !== undefined) {
      for (const [name, value] of new URLSearchParams(button.dataset.filter))
        if (body[name] === undefined) body[name] = name === "days" ? Number(value) : value;
    }
    const found = await ask("POST", button.dataset.post, body);
    const done = found.jobs ? `${found.jobs.length} done.` : "Done.";
    const refused = (found.refused || []).map((one) => `job ${one.id}: ${one.message}`);
    tell([done, ...refused].join("\n"));
  } catch (error) {
    tell(error.message);
  }
  button.disabled = false;
  refresh();
});

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
    const isTyping = main.contains(focused) && !focused.closest("form") && ["INPUT", "SELECT", "TEXTAREA"].includes(focused.tagName);
    if (isPressed()) { wanted = true; return; }
    if (isPaused || isTyping || !fresh) return;
    $("daemon").replaceChildren(...page.getElementById("daemon").childNodes);
    const log = $("log"), freshLog = fresh.querySelector("#log");
    const scroll = log ? log.scrollTop : 0;
    if (log && freshLog) freshLog.replaceWith(log);
    put(fresh, main);
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
  set("message", job.error || job.message);
  set("eta", job.eta_seconds === null ? "" : `${span(job.eta_seconds)} left`);
  document.querySelectorAll(`[data-bar="${Number(job.id)}"]`).forEach((bar) => {
    bar.querySelector(".done").setAttribute("width", job.progress);
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
    tell("No connection. What is shown may be old; it is tried again.");
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
let logAt = null, logAttempt = null, isReading = false;

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
        log.textContent = "";
        if (isNew && logAt) { logAt = 0; continue; }
      }
      const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 24;
      if (part.text) log.textContent = (log.textContent + part.text).slice(-MOST_LOG);
      if (isAtEnd) log.scrollTop = log.scrollHeight;
      logAt = part.offset;
      if (part.offset >= part.size) break;
    }
    if (!log.textContent) log.textContent = "Nothing yet.";
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
  $("theme").textContent = `Theme: ${theme}`;
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
if ($("log")) readLog(Number($("log").dataset.log));
listen();
window.kbjobs = { ask, tell, span, isPressed };
