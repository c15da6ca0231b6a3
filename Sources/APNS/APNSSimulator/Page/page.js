// The phone page: a model that a stream of events updates, drawn at most once per animation frame.
// Payloads are untrusted: the page inserts their contents as text only.
"use strict";

const ROWS_MAX = 100; // device rows shown; search finds the others
const REFUSED_MAX = 30; // refused pushes shown, as many as the server keeps
const FOLLOW_PAUSE = 1500; // ms between two switches to another device, so that the screen stays readable
const RATE_POINTS = 120; // half-second points of the sparkline
const LOADING_MAX = 2000; // ms; then the devices received so far are shown
const byId = (id) => document.getElementById(id);
const numberText = new Intl.NumberFormat("en");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Creates an element with classes and children; strings become text nodes. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function symbol(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---------------------------------------------------------------------------------------------------- Model

const model = {
  devices: new Map(), // id → summary, ordered by last change, newest last
  selected: null,
  departed: null, // the last summary of the selected device, if it was removed
  isLoading: true, // the list of devices is incomplete
  notes: new Map(), // of the selected device: number → notification, oldest first
  cards: new Map(),
  lines: new Map(),
  open: new Set(), // unfolded threads
  isFreshScreen: true, // the next screen is the initial state, not a change
  newest: null, // the device that the latest push was for
  refused: [], // refused pushes, oldest first
  refusedTotal: null,
  counters: null,
  rates: [],
  peak: 0,
};
const dirty = new Set();
let isDrawing = false;

function touch(...parts) {
  for (const part of parts) dirty.add(part);
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(draw);
}

function draw() {
  isDrawing = false;
  const parts = new Set(dirty);
  dirty.clear();
  if (parts.has("screen")) drawScreen();
  if (parts.has("head") || parts.has("screen")) drawHead();
  if (parts.has("counters")) drawCounters();
  if (parts.has("refused")) drawRefused();
  if (parts.has("rows")) drawRowsSoon();
}

function clearScreen() {
  for (const map of [model.notes, model.cards, model.lines]) map.clear();
  model.open.clear();
  model.isFreshScreen = true;
}

/** Merges changed items into `map`, then keeps only the items in `order`, in that order. */
function merge(map, changed, order) {
  for (const item of changed) map.set(item.number, item);
  const kept = order.map((number) => map.get(number)).filter(Boolean);
  map.clear();
  for (const item of kept) map.set(item.number, item);
}

// --------------------------------------------------------------------------------------------------- Event stream

let stream = null;
let lastEventID = "";
let retryTimer = 0;
let loadingTimer = 0;
let failures = 0; // in a row

function connect() {
  clearTimeout(retryTimer);
  if (stream) stream.close();
  const query = new URLSearchParams();
  if (lastEventID) query.set("after", lastEventID);
  if (model.selected) query.set("device", model.selected);
  stream = new EventSource(`events?${query}`);
  const on = (name, apply) =>
    stream.addEventListener(name, (event) => {
      if (event.lastEventId) lastEventID = event.lastEventId;
      apply(JSON.parse(event.data));
    });
  stream.onopen = () => {
    failures = 0;
    setLink("live", "Live");
  };
  stream.onerror = () => {
    setLink("lost", "Reconnecting");
    if (stream.readyState !== EventSource.CLOSED) return;
    // The simulator was reset or restarted, so the device does not exist.
    model.selected = null;
    clearScreen();
    retryTimer = setTimeout(connect, failures > 0 ? 1000 : 0);
    failures += 1;
  };
  on("resync", () => {
    // A page that reads too slowly gets this too, so the selected device stays until the others are known.
    model.departed = selectedDevice() ?? null;
    model.devices.clear();
    model.isFreshScreen = true;
    // Devices follow in several events, oldest first. While many devices change, each event announces a next one.
    model.isLoading = true;
    clearTimeout(loadingTimer);
    loadingTimer = setTimeout(finishLoading, LOADING_MAX);
    touch("rows", "screen");
  });
  on("devices", applyDevices);
  on("refused", ({ pushes, total, all }) => {
    model.refused = [...(all ? [] : model.refused), ...pushes].slice(-REFUSED_MAX);
    model.refusedTotal = total;
    touch("refused");
  });
  on("screen", applyScreen);
  on("counters", (counters) => {
    model.counters = counters;
    touch("counters");
  });
  if (model.selected) fetchScreen(model.selected);
}

function applyDevices({ devices, gone, more }) {
  for (const id of gone) {
    if (id === model.selected) model.departed = model.devices.get(id) ?? model.departed;
    model.devices.delete(id);
  }
  for (const device of devices) {
    const known = model.devices.get(device.id);
    device.isFlashing = !known || pushCount(known) !== pushCount(device);
    if (device.isFlashing) model.newest = device.id;
    model.devices.delete(device.id);
    model.devices.set(device.id, device);
  }
  touch("rows", "head");
  if (model.isLoading) {
    if (!more) finishLoading();
    return;
  }
  if (gone.includes(model.selected) || !model.selected) selectIfNone();
  follow();
}

/** The pushes to a device, also the refused ones. */
function pushCount(device) {
  return device.counters.received + device.counters.refused;
}

function finishLoading() {
  clearTimeout(loadingTimer);
  model.isLoading = false;
  // Draw the list together with the phone.
  clearTimeout(rowsTimer);
  rowsTimer = 0;
  rowsDrawnAt = -Infinity;
  touch("rows", "screen");
  selectIfNone();
  follow();
}

/** The summary of the selected device, also if it was removed and is still shown. */
function selectedDevice() {
  return model.devices.get(model.selected) ?? (model.departed?.id === model.selected ? model.departed : undefined);
}

/** Selects the newest device if no device is selected, or if the selected one was removed. */
function selectIfNone() {
  if (model.devices.has(model.selected)) return;
  // With more than 1,000 busy devices each is removed within moments: `follow` switches when the screen was readable for a while.
  if (selectedDevice() && byId("follow").checked && model.devices.size > 0) return;
  if (model.selected) {
    model.selected = null;
    clearScreen();
    touch("rows", "screen");
  }
  const newest = [...model.devices.keys()].at(-1);
  if (newest) select(newest);
}

let followedAt = -Infinity;
let followTimer = 0;

/** Switches to the device of the latest push, now or after the pause, unless the user has picked a device or reads a push. */
function follow() {
  clearTimeout(followTimer);
  const isWanted = byId("follow").checked && model.devices.has(model.newest) && model.newest !== model.selected;
  if (!isWanted || model.isLoading || byId("detail").open) return;
  const pause = FOLLOW_PAUSE - (performance.now() - followedAt);
  if (pause > 0) {
    followTimer = setTimeout(follow, pause);
    return;
  }
  followedAt = performance.now();
  select(model.newest);
}

/** The user has picked the selected device: it stays until the user follows the newest again. */
function stay() {
  byId("follow").checked = false;
}

byId("follow").addEventListener("change", () => {
  followedAt = -Infinity;
  follow();
});
byId("detail").addEventListener("close", follow);

function applyScreen(screen) {
  if (screen.id !== model.selected) return;
  const before = new Map([...model.notes].map(([number, note]) => [number, note.version]));
  merge(model.notes, screen.notifications, screen.order);
  merge(model.cards, screen.activities, screen.cards);
  merge(model.lines, screen.log, screen.lines);
  if (!model.isFreshScreen) {
    const arrived = screen.notifications.filter((note) => before.get(note.number) !== note.version);
    for (const note of arrived) note.isNew = !before.has(note.number);
    for (const note of arrived) note.isChanged = !note.isNew;
    for (const card of screen.activities) card.isNew = card.updates === 1;
    wake(arrived, screen.activities);
  }
  model.isFreshScreen = false;
  touch("screen");
}

function setLink(state, text) {
  byId("link").dataset.state = state;
  setText(byId("link-text"), text);
}

// Fetches the full screen once; afterwards the event stream sends only its changes.
async function fetchScreen(id) {
  const response = await request("GET", `devices/${id}`);
  if (id !== model.selected || !model.isFreshScreen) return;
  if (!response) {
    // The device was removed in the meantime.
    model.isFreshScreen = false;
    touch("screen");
    return;
  }
  applyScreen({
    ...response, order: response.notifications.map((item) => item.number), cards: response.activities.map((item) => item.number),
    lines: response.log.map((item) => item.number),
  });
}

/** Sends a request and returns its JSON; null on failure. A string is sent as is, an object as JSON. */
async function request(method, path, body) {
  try {
    const response = await fetch(path, { method, body: typeof body === "object" ? JSON.stringify(body) : body });
    if (!response.ok) return null;
    const text = await response.text();
    return text ? JSON.parse(text) : {};
  } catch {
    return null;
  }
}

// --------------------------------------------------------------------------------------------------- Screen

let wokeAt = -Infinity;

/** Animates the screen for new alerts, at most three times a second, except for critical ones. */
function wake(notes, cards) {
  const loud = notes.filter((note) => note.level !== "passive");
  const newest = loud.at(-1) ?? cards.find((card) => card.title || card.body);
  const isCritical = loud.some((note) => note.level === "critical");
  if (!newest || (performance.now() - wokeAt < 330 && !isCritical)) return;
  wokeAt = performance.now();
  const phone = byId("phone");
  replay(phone, "woke");
  if (newest.sound || isCritical) replay(phone, "buzz");
  if (isCritical) replay(phone, "alarm");
  announce([appName(newest.app), newest.title, newest.body].filter(Boolean).join(": "));
}

function replay(element, className) {
  element.classList.remove(className);
  void element.offsetWidth;
  element.classList.add(className);
}

let announceTimer = 0;
function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => setText(byId("announce"), text), 400);
}

/** A display name: Pizza for `com.example.pizza`, Example for `com.example.app`. */
function appName(bundleID) {
  const parts = (bundleID || "").split(".").filter(Boolean);
  let name = parts.at(-1) ?? "App";
  if (/^(app|ios|mobile|client|iphone)$/i.test(name) && parts.length > 1) name = parts.at(-2);
  return name.charAt(0).toUpperCase() + name.slice(1).replace(/[-_]+/g, " ");
}

function appIcon(bundleID, badge) {
  const icon = make("span", "icon", appName(bundleID).charAt(0));
  let hash = 7;
  for (const character of bundleID || "") hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  icon.style.setProperty("--hue", hash % 360);
  icon.setAttribute("aria-hidden", "true");
  if (badge > 0) icon.append(make("span", "badge", badge > 99 ? "99+" : String(badge)));
  return icon;
}

function ago(time) {
  const seconds = Math.max(0, (Date.now() - time) / 1000);
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ago`;
  return `${Math.floor(seconds / 86400)}d ago`;
}

function timeLabel(time) {
  const element = make("time", "", ago(time));
  element.dataset.at = time;
  return element;
}

function noteElement(note, extra) {
  const item = make("li", "note");
  item.dataset.key = `n${note.number}`;
  item.dataset.version = note.version;
  item.dataset.level = note.level;
  let level = null;
  if (note.level === "critical") level = make("span", "level", symbol("alert"), "Critical");
  if (note.level === "time-sensitive") level = make("span", "level", symbol("clock"), "Time sensitive");
  const text = make("span", "text", make("span", "head", make("b", "", appName(note.app)), level, timeLabel(note.at)));
  for (const part of ["title", "subtitle", "body"]) if (note[part]) text.append(make("span", part, note[part]));
  const chips = make("span", "chips");
  if (note.sound) chips.append(make("span", "", symbol("bell"), note.sound));
  if (note.thread) chips.append(make("span", "", `# ${note.thread}`));
  if (note.replacements) chips.append(make("span", "", `replaced ${note.replacements}×`));
  if (extra) chips.append(make("span", "", extra));
  if (chips.firstChild) text.append(chips);
  const button = make("button", "", appIcon(note.app, note.badge), text);
  button.type = "button";
  item.append(button);
  return item;
}

/** Groups notifications by thread, newest first. */
function threads() {
  const groups = new Map();
  for (const note of [...model.notes.values()].reverse()) {
    const key = note.thread ? `${note.app}\n${note.thread}` : `n${note.number}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(note);
  }
  return groups;
}

function drawScreen() {
  const device = selectedDevice();
  const notes = [];
  for (const [key, group] of threads()) {
    const isStack = group.length > 1;
    const isOpen = isStack && model.open.has(key);
    if (isOpen) notes.push(foldElement(key, group));
    for (const [index, note] of (isOpen ? group : group.slice(0, 1)).entries()) {
      notes.push(noteFor(note, isStack && !isOpen ? { key, count: group.length } : null, isOpen && index > 0));
    }
  }
  reconcile(byId("notes"), notes);
  reconcile(byId("cards"), [...model.cards.values()].reverse().map(cardFor));
  const log = byId("log");
  log.replaceChildren(...[...model.lines.values()].reverse().map(lineElement));
  const isLoading = model.isLoading || (model.selected && model.isFreshScreen);
  byId("log-empty").hidden = model.lines.size > 0;
  setText(byId("log-empty"), isLoading ? "Loading" : "None so far");
  const hint = byId("hint");
  hint.hidden = model.notes.size + model.cards.size > 0;
  byId("phone").classList.toggle("full", notes.length + 2 * model.cards.size > 3);
  setText(hint, isLoading ? "Loading" : device ? "No notifications" : "Waiting for a push");
  updateCardStates();
}

/** Returns the element of a notification. Reuses the existing one if nothing has changed. */
function noteFor(note, stack, isInner) {
  const shape = `${note.version} ${stack ? stack.count : 0} ${isInner}`;
  const existing = byId("notes").querySelector(`[data-key="n${note.number}"]`);
  if (existing && existing.dataset.shape === shape) return existing;
  const item = noteElement(note, stack ? `${stack.count - 1} more` : "");
  item.dataset.shape = shape;
  item.classList.toggle("inner", isInner);
  item.classList.toggle("fresh", Boolean(note.isNew));
  item.classList.toggle("changed", Boolean(note.isChanged));
  note.isNew = note.isChanged = false;
  if (stack) item.classList.add("stack");
  item.firstChild.addEventListener("click", () => {
    if (!stack) return showDetail(note);
    stay();
    model.open.add(stack.key);
    touch("screen");
  });
  if (stack) item.firstChild.setAttribute("aria-expanded", "false");
  return item;
}

function foldElement(key, group) {
  const button = make("button", "fold", "Show less");
  button.type = "button";
  button.setAttribute("aria-label", `Fold the thread ${group[0].thread}`);
  button.addEventListener("click", () => {
    model.open.delete(key);
    touch("screen");
  });
  const item = make("li", "", button);
  item.style.display = "grid";
  item.dataset.key = `fold ${key}`;
  return item;
}

/** Makes `items` the children of `list`, and animates existing ones to their new positions. */
function reconcile(list, items) {
  const glides = !still.matches && items.length < 40 && items.filter((item) => !item.isConnected).length < 6;
  const tops = new Map();
  if (glides) for (const item of list.children) tops.set(item.dataset.key, item.offsetTop);
  const wanted = new Set(items);
  for (const item of [...list.children]) if (!wanted.has(item)) item.remove();
  items.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  if (!glides) return;
  for (const item of items) {
    const top = tops.get(item.dataset.key);
    if (top === undefined || top === item.offsetTop || item.classList.contains("fresh") && !tops.has(item.dataset.key)) continue;
    item.animate([{ transform: `translateY(${top - item.offsetTop}px)` }, { transform: "none" }], {
      duration: 420, easing: "cubic-bezier(.2, .9, .25, 1)",
    });
  }
}

// ---------------------------------------------------------------------------------------------- Live Activities

/** A label: Home score for `homeScore`, Team name for `team.name`. */
function fieldLabel(name) {
  const words = name.replace(/\[(\d+)\]/g, " $1").replace(/[._-]+/g, " ").replace(/([a-z0-9])([A-Z])/g, "$1 $2");
  return words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}

/** A fraction from 0 to 1 for fields named like one; null for other fields. */
function share(field) {
  const value = Number(field.value);
  if (field.kind !== "number" || !/progress|percent|fraction|completion/i.test(field.name)) return null;
  if (value >= 0 && value <= 1) return value;
  return value > 1 && value <= 100 ? value / 100 : null;
}

function fieldElement(field) {
  const part = share(field);
  const isWide = part !== null || field.value.length > 22;
  const element = make("span", `field ${field.kind}${isWide ? " wide" : ""}${part !== null ? " share" : ""}`, make("small", "", fieldLabel(field.name)), make("span", ""));
  element.dataset.field = field.name;
  if (part !== null) element.append(make("span", "meter", make("i")));
  fillField(element, field);
  return element;
}

function fillField(element, field) {
  const part = share(field);
  const value = element.children[1];
  let text = field.value;
  if (part !== null) text = `${Math.round(part * 100)} %`;
  if (field.kind === "boolean") text = field.value === "true" ? "Yes" : "No";
  if (field.kind === "null") text = "–";
  if (value.textContent !== text) {
    if (value.textContent) replay(element, "ticked");
    value.textContent = text;
  }
  if (part !== null) element.querySelector(".meter i").style.transform = `scaleX(${part})`;
}

/** Returns the element of a card. Reuses the existing one while its fields are the same, so that values animate. */
function cardFor(card) {
  const names = card.state.map((field) => `${field.name} ${field.kind} ${share(field) !== null} ${field.value.length > 22}`).join("\n");
  let item = byId("cards").querySelector(`[data-key="a${card.number}"]`);
  if (!item || item.names !== names) {
    const isFirst = !item;
    const button = make(
      "button", "",
      make("span", "head", appIcon(card.app), make("b", ""), make("span", "pushes"), make("span", "state")),
      make("span", "alert-text"), make("span", "about"), make("span", "fields", ...card.state.map(fieldElement)), make("span", "foot"),
    );
    button.type = "button";
    item = make("li", "card", button);
    item.names = names;
    item.dataset.key = `a${card.number}`;
    item.classList.toggle("fresh", isFirst && Boolean(card.isNew));
    button.addEventListener("click", () => showDetail(item.card));
  }
  item.card = card;
  const find = (selector) => item.querySelector(selector);
  setText(find(".head b"), appName(card.app) + (card.type ? ` · ${card.type.replace(/Attributes$/, "")}` : ""));
  setText(find(".alert-text"), [card.title, card.body].filter(Boolean).join(": "));
  setText(find(".about"), card.attributes.map((field) => field.value).join(" · "));
  for (const name of ["alert-text", "about", "foot"]) find(`.${name}`).hidden = !find(`.${name}`).textContent;
  for (const field of card.state) {
    const element = [...find(".fields").children].find((candidate) => candidate.dataset.field === field.name);
    if (element) fillField(element, field);
  }
  setText(find(".pushes"), `${numberText.format(card.updates)} ${card.updates === 1 ? "push" : "pushes"}`);
  setText(find(".foot"), card.channel ? `channel ${card.channel}` : "");
  return item;
}

/** Updates the state of each card, because cards also become stale without a push. */
function updateCardStates() {
  for (const item of byId("cards").children) {
    const card = item.card;
    const isStale = card.stale_date !== undefined && card.stale_date * 1000 <= Date.now();
    const state = card.ended_at !== undefined ? "ended" : isStale ? "stale" : "live";
    item.dataset.state = state;
    setText(item.querySelector(".state"), state);
  }
}

function lineElement(line) {
  const time = make("time", "", new Date(line.at).toTimeString().slice(0, 8));
  const what = line.ignored ? `ignored: ${line.ignored}` : line.push_type ?? "no push type";
  const button = make("button", `line${line.ignored ? " ignored" : ""}`, time, make("b", "", what), make("span", "", line.payload));
  button.type = "button";
  button.addEventListener("click", () => showDetail(line));
  return make("li", "", button);
}

// --------------------------------------------------------------------------------------------------- Details

function showDetail(item) {
  const facts = [
    ["reason", item.reason], ["status", item.status], ["token", item.reason && item.token], ["apns-id", item.apns_id], ["app", item.app], ["push type", item.push_type], ["priority", item.priority],
    ["expiration", item.expiration], ["collapse id", item.collapse_id], ["thread", item.thread], ["category", item.category],
    ["level", item.level], ["sound", item.sound], ["channel", item.channel], ["timestamp", item.timestamp],
    ["stale date", item.stale_date], ["ended", item.ended_at && new Date(item.ended_at).toLocaleTimeString()],
    ["received", item.at && new Date(item.at).toLocaleTimeString()],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
  byId("detail-facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", String(value))]));
  setText(byId("detail-title"), item.title || item.type || appName(item.app));
  let payload = item.payload;
  if (payload === undefined) {
    payload = JSON.stringify(Object.fromEntries(item.state.map((field) => [field.name, field.value])), null, 2);
  } else {
    try {
      payload = JSON.stringify(JSON.parse(payload), null, 2);
    } catch {
      // Not JSON: shown unchanged.
    }
  }
  setText(byId("detail-payload"), payload);
  byId("detail").showModal();
}

// --------------------------------------------------------------------------------------------------- Device

const counterLabels = { activity_pushes: "Live Activity" };
const tokenLabels = {
  unregistered: "app removed", expired: "token expired", "wrong-environment": "wrong environment", "wrong-topic": "wrong topic",
};

function drawHead() {
  const device = selectedDevice();
  const phone = byId("phone");
  byId("actions").hidden = !device;
  phone.dataset.online = String(device ? device.online : true);
  phone.dataset.gone = String(Boolean(device) && device.token_state !== "valid");
  byId("stage-name").title = device ? device.name : "";
  setText(byId("stage-name"), device ? device.name : model.isLoading ? "Loading" : "No device yet");
  const parked = byId("parked");
  if (!device) {
    setText(byId("stage-facts"), model.isLoading ? "\u00a0" : "Point any APNs library at this simulator");
    parked.hidden = true;
    return;
  }
  byId("stage-facts").title = device.app ?? "";
  const counted = Object.entries(device.counters).filter(([name, count]) => count && name !== "delivered");
  setText(byId("stage-facts"), [device.token, ...counted.map(([name, count]) => `${numberText.format(count)} ${counterLabels[name] ?? name}`)].join(" · "));
  const badges = Object.entries(device.badges).map(([app, badge]) => `${appName(app)} ${badge}`);
  setText(byId("badges"), badges.length ? `Badges: ${badges.join(", ")}` : "");
  const isInstalled = device.token_state === "valid";
  let words = "";
  if (!isInstalled) words = `${device.last_reason || tokenLabels[device.token_state]}${device.counters.refused ? ` · ${numberText.format(device.counters.refused)} refused` : ""}`;
  else if (!device.online) words = device.waiting ? `Offline · ${device.waiting} waiting` : "Offline";
  setText(parked, words);
  parked.hidden = !words;
  press(byId("toggle-online"), !device.online, device.online ? "Go offline" : "Go online");
  press(byId("toggle-app"), !isInstalled, isInstalled ? "Uninstall" : "Reinstall");
}

function press(button, isPressed, text) {
  button.setAttribute("aria-pressed", String(isPressed));
  setText(button.querySelector("span"), text);
}

function select(id) {
  if (id === model.selected) return;
  model.selected = id;
  clearScreen();
  connect();
  touch("rows", "screen");
}

byId("toggle-online").addEventListener("click", () => {
  const device = model.devices.get(model.selected);
  stay();
  if (device) request("PUT", `devices/${device.id}`, { online: !device.online });
});
byId("toggle-app").addEventListener("click", () => {
  const device = model.devices.get(model.selected);
  stay();
  if (device) request("PUT", `devices/${device.id}`, { token_state: device.token_state === "valid" ? "unregistered" : "valid" });
});

// The push goes to the selected device, or to a new one if there is none. The simulator sends it, through its gateway if it has one.
byId("test-push").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  const device = model.devices.get(model.selected);
  button.disabled = true;
  try {
    const response = await fetch(`test-push${device ? `?device=${encodeURIComponent(device.id)}` : ""}`, { method: "POST" });
    const result = await response.json();
    if (!response.ok) noteTest(`Not sent: ${result.detail}`, true);
    else if (result.via === "gateway") noteTest(`Accepted by the gateway: ${result.msg_id}`);
    else noteTest("Sent by the simulator itself; no gateway runs with it");
  } catch {
    noteTest("Not sent: the simulator cannot be reached", true);
  }
  button.disabled = false;
});

let testTimer = 0;
function noteTest(text, isBad = false) {
  const note = byId("test-note");
  note.classList.toggle("bad", isBad);
  setText(note, text);
  clearTimeout(testTimer);
  testTimer = setTimeout(() => setText(note, ""), 15000);
}

// --------------------------------------------------------------------------------------------- Device list

let rowsTimer = 0;
let rowsDrawnAt = -Infinity;

/** Limits updates of the list to two per second, because rows change position. */
function drawRowsSoon() {
  if (rowsTimer) return;
  rowsTimer = setTimeout(drawRows, Math.max(0, 500 - (performance.now() - rowsDrawnAt)));
}

function drawRows() {
  rowsTimer = 0;
  rowsDrawnAt = performance.now();
  const words = byId("search").value.trim().toLowerCase();
  const matching = [...model.devices.values()].reverse().filter(
    (device) => !words || `${device.name} ${device.token} ${device.app ?? ""}`.toLowerCase().includes(words),
  );
  const list = byId("rows");
  const existing = new Map([...list.children].map((item) => [item.dataset.key, item]));
  reconcile(list, matching.slice(0, ROWS_MAX).map((device) => rowFor(device, existing.get(device.id))));
  const more = byId("rows-more");
  const hint = model.isLoading ? "Loading" : words ? "No device matches" : "Devices appear with their first push";
  more.hidden = matching.length > 0 && matching.length <= ROWS_MAX;
  setText(more, matching.length ? `and ${matching.length - ROWS_MAX} more` : hint);
  setText(byId("strip-devices"), model.isLoading ? "–" : numberText.format(model.devices.size));
}

function rowFor(device, existing) {
  let item = existing;
  if (!item) {
    const button = make(
      "button", "row", make("span", "face", symbol("phone")), make("span", "name"), make("span", "count"),
      make("span", "sub", make("code"), make("span")),
    );
    button.type = "button";
    button.addEventListener("click", () => {
      stay();
      select(device.id);
    });
    item = make("li", "", button);
    item.dataset.key = device.id;
  }
  const row = item.firstChild;
  row.dataset.online = device.online;
  row.dataset.token = device.token_state;
  row.setAttribute("aria-current", String(device.id === model.selected));
  setText(row.querySelector(".name"), device.name);
  const count = row.querySelector(".count");
  setText(count, numberText.format(device.counters.received));
  count.title = Object.entries(device.counters).filter(([, value]) => value).map(([name, value]) => `${name.replace("_", " ")} ${value}`).join(", ");
  setText(row.querySelector(".sub code"), device.token);
  const state = device.token_state !== "valid" ? tokenLabels[device.token_state] : device.online ? device.preview : `offline, ${device.waiting} waiting`;
  setText(row.querySelector(".sub span"), state ? ` ${state}` : "");
  if (device.isFlashing) {
    device.isFlashing = false;
    replay(row, "flash");
  }
  return item;
}

byId("search").addEventListener("input", () => touch("rows"));

// ------------------------------------------------------------------------------------------------------ Traffic

function tone(status) {
  if (status < 300) return "ok";
  if (status === 410) return "gone";
  return status < 500 ? "client" : "server";
}

function drawCounters() {
  const counters = model.counters;
  const entries = Object.entries(counters.answers_by_status).map(([status, count]) => [Number(status), count]);
  const figures = [
    ["requests", counters.requests], ["accepted", counters.taken], ["without response", counters.unanswered],
    ["open connections", counters.connections_open], ["connections", counters.connections_accepted], ["cancelled", counters.cancelled],
  ];
  const list = byId("figures");
  if (!list.firstChild) list.append(...figures.map(([name]) => make("div", "", make("dt", "", name), make("dd", ""))));
  figures.forEach(([, value], index) => setText(list.children[index].lastChild, numberText.format(value)));
  setText(byId("strip-requests"), numberText.format(counters.requests));
  setText(byId("strip-connections"), numberText.format(counters.connections_open));

  byId("responses-empty").hidden = entries.length > 0;
  setText(byId("responses-empty"), "No responses yet");
  byId("split").hidden = entries.length === 0;
  byId("split").replaceChildren(...entries.map(([status, count]) => {
    const part = make("i", `tone-${tone(status)}`);
    part.style.flexGrow = count;
    return part;
  }));
  byId("split").setAttribute("aria-label", `Responses: ${entries.map(([status, count]) => `${count} with ${status}`).join(", ")}`);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const rows = entries.map(([status, count]) =>
    make("li", `tone-${tone(status)}`, make("i"), make("span", "", `${status}  ·  ${percent(count, total)}`), make("b", "", numberText.format(count))));
  const reasons = Object.entries(counters.answers_by_reason).sort((a, b) => b[1] - a[1]).slice(0, 8);
  rows.push(...reasons.map(([reason, count]) => make("li", "reason", make("span", "", reason), make("span"), make("b", "", numberText.format(count)))));
  byId("responses").replaceChildren(...rows);
}

/** Lists the refused pushes, newest first. */
function drawRefused() {
  const total = model.refusedTotal;
  // Only the first digits of tokens are known here; several devices may share them.
  const names = new Map();
  for (const { token, name } of model.devices.values()) names.set(token, names.has(token) ? null : name);
  byId("refused").replaceChildren(...model.refused.toReversed().map((push) => {
    const time = make("time", "", new Date(push.received_at).toTimeString().slice(0, 8));
    const target = names.get(push.token) ?? (push.token || "no token");
    const button = make("button", "line", time, make("b", "", push.reason), make("span", "", target), make("code", "", push.payload || "no payload"));
    button.type = "button";
    button.addEventListener("click", () => showDetail({ ...push, title: "Refused push", app: push.topic, at: push.received_at }));
    return make("li", "", button);
  }));
  setText(byId("refused-count"), total > model.refused.length ? `the last ${model.refused.length} of ${numberText.format(total)}` : "");
  byId("refused-empty").hidden = total > 0;
  setText(byId("refused-empty"), "None so far");
}

function percent(count, total) {
  const value = (100 * count) / total;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value >= 99.95 && count < total ? "> 99.9" : value.toFixed(value < 10 || value > 99 && value < 100 ? 1 : 0)} %`;
}

let sampled = { at: 0, requests: null };
let rate = 0;

/** Measures the rate by the local clock, so that it falls when no counters arrive. */
function sample() {
  const now = performance.now();
  const requests = model.counters ? model.counters.requests : 0;
  if (sampled.requests !== null && requests >= sampled.requests) {
    const measured = ((requests - sampled.requests) * 1000) / (now - sampled.at);
    rate = measured === 0 && rate < 1 ? 0 : rate * 0.45 + measured * 0.55;
    model.rates.push(rate);
    if (model.rates.length > RATE_POINTS) model.rates.shift();
    model.peak = Math.max(model.peak, rate);
  } else {
    model.peak = 0;
  }
  if (model.counters) sampled = { at: now, requests };
  const text = numberText.format(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate));
  setText(byId("rate"), text);
  setText(byId("strip-rate"), text);
  setText(byId("peak"), model.peak >= 1 ? `peak ${numberText.format(Math.round(model.peak))}` : "");
  drawSpark();
}

function drawSpark() {
  const top = Math.max(4, ...model.rates) * 1.12;
  const points = model.rates.map((value, index) => {
    const x = 300 - (model.rates.length - 1 - index) * (300 / (RATE_POINTS - 1));
    return `${x.toFixed(1)} ${(62 - (value / top) * 58).toFixed(1)}`;
  });
  if (points.length < 2) return;
  const line = `M${points.join("L")}`;
  byId("spark-line").setAttribute("d", line);
  byId("spark-area").setAttribute("d", `${line}L300 64L${points[0].split(" ")[0]} 64Z`);
}

// A reset deletes all counts, so it needs a second click.
byId("reset").addEventListener("click", (event) => {
  const button = event.currentTarget;
  if (button.dataset.armed) {
    request("POST", "reset");
    model.rates = [];
    disarm(button);
  } else {
    button.dataset.armed = "yes";
    setText(button, "Confirm");
    setTimeout(disarm, 3000, button);
  }
});

function disarm(button) {
  delete button.dataset.armed;
  setText(button, "Reset");
}

// ---------------------------------------------------------------------------------------------------- Scenarios

/** Shows a button for each built-in scenario; hides the panel if there are none. */
async function loadScenarios() {
  const list = await request("GET", "scenarios");
  byId("faults").hidden = !Array.isArray(list) || list.length === 0;
  if (byId("faults").hidden) return;
  const current = (await request("GET", "scenario"))?.name ?? null;
  byId("scenarios").replaceChildren(...list.map(({ name, description }) => {
    const button = make("button", "", name, description ? make("small", "", description) : null);
    button.type = "button";
    button.title = description ?? "";
    button.setAttribute("aria-pressed", String(name === current));
    button.addEventListener("click", async () => {
      const isDone = name === current ? await request("DELETE", "scenario") : await request("PUT", "scenario", name);
      setText(byId("scenario-note"), isDone ? "" : `The simulator rejected "${name}".`);
      loadScenarios();
    });
    return button;
  }));
}

// ----------------------------------------------------------------------------------------------- Clock, theme, start

function tick() {
  const now = new Date();
  const time = now.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit", hour12: false });
  setText(byId("clock"), time);
  setText(byId("small-clock"), time);
  setText(byId("date"), now.toLocaleDateString("en", { weekday: "long", month: "long", day: "numeric" }));
  for (const element of document.querySelectorAll("time[data-at]")) setText(element, ago(Number(element.dataset.at)));
  updateCardStates();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

const darkness = matchMedia("(prefers-color-scheme: dark)");
let theme = null;
try {
  theme = localStorage.getItem("theme");
} catch {
  // Storage is disabled: use the theme of the system.
}
setTheme(theme ?? (darkness.matches ? "dark" : "light"));
darkness.addEventListener("change", () => theme ?? setTheme(darkness.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => {
  theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  setTheme(theme);
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage is disabled: the choice lasts until the page is closed.
  }
});

tick();
setInterval(tick, 1000);
setInterval(sample, 500);
drawHead();
drawRows();
loadScenarios();
connect();
