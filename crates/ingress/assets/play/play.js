// The page itself: who is there, what is open, and what is said.

import { Problem, call, list, logIn, register, session } from "./api.js";
import { newKey, running, sending, sends, sent } from "./memory.js";
import { Line } from "./socket.js";
import { element } from "./text.js";
import { Turn } from "./turn.js";

const $ = (id) => document.getElementById(id);
const STATES = { connecting: "connecting", open: "connected", offline: "offline", closed: "not connected" };
const IDEAS = [
  ["What is a turn?", "What happens to this message until I see your answer?"],
  ["Something long", "Tell me a long story about a lighthouse and the person who keeps it."],
  ["A piece of code", "Show me a short program that counts to ten, and explain it."],
];

const line = new Line();
/// Tells other tabs of this browser that a list has changed.
const tabs = new BroadcastChannel("omnichat");
let projects = [];
let conversations = [];
let project = null;
let conversation = null;
/// The answers that are shown, and those that are written where nobody looks, by turn.
let turns = new Map();
/// What is on its way, by key.
const delivered = new Map();
/// Events of turns of which it is being found out what they are; and turns that are not of this conversation.
let unknown = new Map();
let others = new Set();
let opening = 0;

// ---- Who is there

function show() {
  const inside = session.token !== null;
  $("door").hidden = inside;
  $("room").hidden = !inside;
  if (inside) enter();
  else $("email").focus();
}

async function knock(create) {
  const [email, password] = [$("email").value.trim(), $("password").value];
  $("refusal").textContent = "";
  if (!email || !password) return refuse("Write an e-mail address and a password.", email ? "password" : "email");
  for (const button of $("credentials").querySelectorAll("button")) button.disabled = true;
  try {
    if (create) await register(email, password);
    await logIn(email, password);
    $("password").value = "";
    show();
  } catch (error) {
    refuse(said(error), "password");
  } finally {
    for (const button of $("credentials").querySelectorAll("button")) button.disabled = false;
  }
}

function refuse(text, field) {
  $("refusal").textContent = text;
  $(field).focus();
}

const said = (error) => (error instanceof Problem ? error.message : "The server cannot be reached.");

async function enter() {
  $("who").textContent = session.get()?.email ?? "";
  line.open();
  await attempt(async () => {
    projects = await list("/projects");
    const wanted = location.hash.match(/^#\/c\/([0-9a-f-]{36})$/)?.[1];
    const found = wanted && (await call("GET", `/conversations/${wanted}`).catch(() => null));
    await chooseProject(found?.project_id ?? projects.at(-1)?.id ?? null);
    await choose(found?.id ?? null);
  });
}

function leave() {
  line.close();
  session.end();
  [projects, conversations, project, conversation] = [[], [], null, null];
  turns.clear();
  $("messages").replaceChildren();
  history.replaceState(null, "", location.pathname);
  show();
}

function end() {
  leave();
  refuse("The session has ended: sign in again.", "email");
}

/// Does something, and says what went wrong.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status === 401) return end();
    complain(said(error));
    return undefined;
  }
}

/// Says what went wrong, where everybody sees and hears it, for a while.
function complain(text) {
  $("complaint").textContent = text;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => ($("complaint").textContent = ""), 8000);
}

function tell(text) {
  $("news").textContent = text;
}

// ---- Projects and conversations

async function chooseProject(id) {
  project = id;
  conversations = id ? await list(`/conversations/project/${id}`) : [];
  drawLists();
}

function drawLists() {
  const options = projects.map(({ id, name }) => element("option", { value: id, selected: id === project }, name));
  $("project").replaceChildren(...(options.length > 0 ? options : [element("option", { value: "" }, "none yet")]));
  $("project").value = project ?? "";
  const entries = conversations.toReversed().map(({ id, title }) =>
    element("li", {}, element("a", { href: `#/c/${id}`, "aria-current": id === conversation && "page" }, title ?? "Untitled")),
  );
  $("conversations").replaceChildren(...entries);
  const shown = conversations.find(({ id }) => id === conversation);
  $("title").textContent = shown ? (shown.title ?? "Untitled") : "New conversation";
  document.title = shown?.title ? `${shown.title} · OMNICHAT` : "OMNICHAT";
}

async function makeProject(name) {
  const made = await call("POST", "/projects", { name });
  projects = await list("/projects");
  await chooseProject(made.id);
  tabs.postMessage("changed");
}

async function makeConversation() {
  if (!project) await makeProject("First project");
  const made = await call("POST", "/conversations", { project_id: project });
  conversations.push(made);
  conversation = made.id;
  history.pushState(null, "", `#/c/${made.id}`);
  drawLists();
  watch();
  tabs.postMessage("changed");
  return made.id;
}

/// Shows a conversation, or an empty one that is made with its first message.
async function choose(id) {
  const mine = ++opening;
  if (conversation && conversation !== id) line.ask({ op: "unwatch", conversation_id: conversation }, true).catch(() => {});
  conversation = id;
  // What is being written goes on, though nobody looks.
  turns = new Map([...turns].filter(([, turn]) => turn.runs));
  [unknown, others] = [new Map(), new Set()];
  drawLists();
  $("room").classList.remove("open");
  $("menu").setAttribute("aria-expanded", "false");
  if (location.hash !== (id ? `#/c/${id}` : "")) history.pushState(null, "", id ? `#/c/${id}` : location.pathname);
  $("messages").replaceChildren();
  $("empty").hidden = id !== null;
  if (id) {
    await attempt(async () => {
      const messages = await list(`/conversations/${id}/messages`);
      if (mine === opening) await drawMessages(messages, mine);
    });
    if (mine === opening) watch();
  }
  buttons();
  $("composer").focus();
}

async function drawMessages(messages, mine) {
  $("empty").hidden = messages.length > 0 || sending().some((send) => send.conversation === conversation);
  for (const { role, content, turn_id } of messages) {
    if (role === "user") addQuestion(content, turn_id);
    else add(new Turn(conversation, { id: turn_id, status: "completed", text: content, actions: ACTIONS }));
  }
  // What was being sent when the page went away is sent again: it has a key.
  for (const send of sending().filter((send) => send.conversation === conversation)) deliver(send);
  const asked = messages.at(-1)?.role === "user" ? [messages.at(-1).turn_id] : [];
  const open = new Set([...asked, ...running(conversation).map(([turn]) => turn)]);
  for (const id of open) {
    const kept = turns.get(id);
    if (kept?.runs) {
      if (kept.anew) removeLastAnswer();
      add(kept);
      continue;
    }
    const record = await call("GET", `/turns/${id}`).catch(() => null);
    if (mine === opening && record) adopt(record);
  }
  toEnd();
}

// ---- Turns

const ACTIONS = [
  ["Copy", (turn) => navigator.clipboard?.writeText(turn.text).then(() => tell("Copied."))],
  ["Answer anew", (turn) => again(turn)],
];

function addQuestion(content, turn) {
  const text = element("div", { class: "text" }, content);
  $("messages").append(element("article", { class: "message user", "data-turn": turn }, element("h3", {}, "You"), text));
}

function add(turn, before = null) {
  if (turn.id) turns.set(turn.id, turn);
  $("messages").insertBefore(turn.element, before);
  turn.ondraw = () => {
    if (pinned) toEnd();
    buttons();
  };
  $("empty").hidden = true;
}

/// A turn that this page did not send, or sent before it was loaded, comes on the page.
function adopt(record) {
  const turn = turns.get(record.id) ?? place(record);
  if (["queued", "running"].includes(record.status)) {
    turn.say(turn.text ? "" : "It is being answered. What was said before you came is shown at the end.");
    follow(turn);
  } else if (turn.runs) {
    settle(turn, record);
  }
  return turn;
}

function removeLastAnswer() {
  const last = $("messages").lastChild;
  if (last?.matches(".assistant")) last.remove();
}

/// Puts a turn under its question.
function place({ id, kind, conversation_id, created_at, messages }) {
  const shown = $("messages");
  const question = messages.find(({ role }) => role === "user");
  // Another answer takes the place of the one before.
  if (kind === "regenerate") removeLastAnswer();
  else if (question && !shown.querySelector(`.user[data-turn="${id}"]`)) addQuestion(question.content, id);
  const turn = new Turn(conversation_id, { id, actions: ACTIONS });
  turn.path.accepted ??= Date.parse(created_at);
  add(turn);
  return turn;
}

/// The turn has ended while nobody here heard of it.
function settle(turn, record) {
  const answer = record.messages.find(({ role }) => role === "assistant");
  turn.text = answer?.content ?? record.partial ?? "";
  turn.path.done ??= Date.parse(record.finished_at);
  if (record.status === "failed") return turn.fail(record.fault ?? {});
  turn.model = record.answered_by ?? "";
  turn.end(record.status, record.status === "cancelled" ? "Stopped." : "");
  turn.keep();
  turn.draw();
}

function follow(turn) {
  const from = turn.seen ? { last_event_id: turn.seen } : {};
  line.ask({ op: "watch", turn_id: turn.id, ...from }, true).catch((error) => {
    if (error.code === "lost" || !turn.runs) return;
    if (error.code !== "invalid_event_id") return turn.fail(error);
    // What is remembered is of no use: it is begun anew.
    [turn.seen, turn.text] = [undefined, ""];
    follow(turn);
  });
}

function watch() {
  if (conversation) line.ask({ op: "watch", conversation_id: conversation }, true).catch(() => {});
}

line.addEventListener("frame", ({ detail: frame }) => {
  const id = frame.id.split(":")[0];
  const turn = turns.get(id);
  if (!turn) return meet(id, frame);
  const ran = turn.runs;
  turn.take(frame);
  if (ran && !turn.runs && turn.conversation === conversation) {
    tell({ completed: "The answer is complete.", cancelled: "The answer was stopped." }[turn.status] ?? `It failed: ${turn.note.textContent}`);
    tabs.postMessage("changed");
  }
});

/// A turn of this conversation that somebody sent elsewhere.
async function meet(id, frame) {
  if (others.has(id)) return;
  if (unknown.has(id)) return unknown.get(id).push(frame);
  const [frames, mine] = [[frame], opening];
  unknown.set(id, frames);
  const record = await call("GET", `/turns/${id}`).catch(() => null);
  if (mine !== opening) return;
  unknown.delete(id);
  if (record?.conversation_id !== conversation) return others.add(id);
  const turn = turns.get(id) ?? place(record);
  for (const heard of frames) turn.take(heard);
  tell("A message was sent from elsewhere.");
}

line.addEventListener("open", () => {
  watch();
  for (const turn of turns.values()) if (turn.id && turn.runs) follow(turn);
});

line.addEventListener("state", ({ detail: state }) => {
  $("line").dataset.state = state;
  $("line-text").textContent = STATES[state];
});

line.addEventListener("denied", end);

async function send(content) {
  const fresh = conversation === null;
  const id = conversation ?? (await makeConversation());
  const made = { key: newKey(), conversation: id, content, at: Date.now() };
  sends(made);
  deliver(made);
  if (fresh || !conversations.find((one) => one.id === id)?.title) await name(id, content);
}

/// The first words of a conversation are its title, until somebody knows a better one.
async function name(id, content) {
  const words = content.trim().split("\n")[0];
  const title = words.length > 60 ? `${words.slice(0, 60).replace(/\s+\S*$/, "")} …` : words;
  const named = await call("PATCH", `/conversations/${id}`, { title });
  conversations = conversations.map((one) => (one.id === id ? named : one));
  drawLists();
  tabs.postMessage("changed");
}

function deliver({ key, conversation: of, content, at }) {
  addQuestion(content);
  const question = $("messages").lastChild;
  const before = delivered.get(key);
  if (before) return add(before);
  const turn = new Turn(of, { actions: ACTIONS });
  delivered.set(key, turn);
  turn.path.sent = at;
  add(turn);
  toEnd();
  if (!line.isOpen) turn.say("It is sent as soon as the connection is there.");
  make(turn, { op: "send", conversation_id: of, idempotency_key: key, body: { content } }, (id) => {
    sent(key);
    delivered.delete(key);
    question.dataset.turn = id ?? "";
  });
}

/// Asks for a turn. What it is called is known soon; what happens to it comes as events.
function make(turn, request, known) {
  line.ask(request).then(
    ({ turn_id: id }) => {
      known(id);
      // It may be here by now, as a message of the list, and its answer as well.
      const [, ...doubled] = $("messages").querySelectorAll(`.user[data-turn="${id}"]`);
      for (const question of doubled) question.remove();
      const before = turns.get(id);
      if (before && before !== turn) return turn.element.remove();
      turns.set(id, turn);
      turn.say("");
      turn.is(id);
    },
    (problem) => {
      known(null);
      turn.fail(problem);
    },
  );
}

function again(old) {
  const turn = new Turn(conversation, { actions: ACTIONS });
  turn.anew = true;
  turn.path.sent = Date.now();
  add(turn, old.element);
  old.element.remove();
  turns.delete(old.id);
  make(turn, { op: "regenerate", turn_id: old.id, idempotency_key: newKey() }, () => {});
  tell("It is answered anew.");
}

async function stop() {
  const turn = runningTurn();
  if (!turn) return;
  $("stop").disabled = true;
  await attempt(() =>
    line.isOpen ? line.ask({ op: "cancel", turn_id: turn.id }) : call("POST", `/turns/${turn.id}/cancel`),
  );
  $("stop").disabled = false;
}

const runningTurn = () => [...turns.values()].find((turn) => turn.runs && turn.conversation === conversation);

function buttons() {
  const runs = runningTurn() !== undefined;
  if ($("stop").hidden === runs) {
    const focused = document.activeElement === $("stop");
    $("stop").hidden = !runs;
    if (focused) $("composer").focus();
  }
}

// ---- The page

let pinned = true;
const toEnd = () => ($("scroll").scrollTop = $("scroll").scrollHeight);
$("scroll").addEventListener("scroll", () => {
  const { scrollTop, scrollHeight, clientHeight } = $("scroll");
  pinned = scrollHeight - scrollTop - clientHeight < 80;
});

function grow() {
  $("composer").style.height = "auto";
  $("composer").style.height = `${$("composer").scrollHeight}px`;
}

$("credentials").addEventListener("submit", (event) => {
  event.preventDefault();
  knock(false);
});
$("create-account").addEventListener("click", () => knock(true));
$("sign-out").addEventListener("click", () => {
  call("POST", "/auth/logout").catch(() => {});
  leave();
});

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = $("composer").value;
  if (!content.trim()) return;
  $("composer").value = "";
  $("composer").focus();
  grow();
  pinned = true;
  attempt(async () => {
    try {
      await send(content);
    } catch (error) {
      // What was not sent is not lost.
      if (!$("messages").lastChild) $("composer").value ||= content;
      throw error;
    }
  });
});
$("composer").addEventListener("input", grow);
$("composer").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("compose").requestSubmit();
  }
});
$("stop").addEventListener("click", stop);
$("new-conversation").addEventListener("click", () => choose(null));
$("new-project").addEventListener("click", () => {
  $("ask-name").value = "";
  $("ask").showModal();
});
$("ask").addEventListener("close", () => {
  const name = $("ask-name").value.trim();
  if ($("ask").returnValue !== "done" || !name) return;
  attempt(async () => {
    await makeProject(name);
    await choose(null);
  });
});
$("project").addEventListener("change", () =>
  attempt(async () => {
    await chooseProject($("project").value || null);
    await choose(conversations.at(-1)?.id ?? null);
  }),
);
$("keys").addEventListener("click", () => $("help").showModal());
$("menu").addEventListener("click", () => {
  const open = $("room").classList.toggle("open");
  $("menu").setAttribute("aria-expanded", String(open));
  if (open) $("new-conversation").focus();
});

addEventListener("keydown", (event) => {
  if ($("room").hidden || document.querySelector("dialog[open]")) return;
  const writes = ["INPUT", "TEXTAREA", "SELECT"].includes(document.activeElement.tagName);
  if (event.key === "Escape") {
    if ($("room").classList.contains("open")) $("menu").click();
    else stop();
  } else if (event.altKey && event.code === "KeyN") {
    choose(null);
  } else if (event.altKey && event.code === "KeyK") {
    $("help").showModal();
  } else if (event.altKey && ["ArrowUp", "ArrowDown"].includes(event.key)) {
    const ids = conversations.map(({ id }) => id).toReversed();
    const next = ids[ids.indexOf(conversation) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) choose(next);
  } else if (event.key === "/" && !writes) {
    $("composer").focus();
  } else {
    return;
  }
  event.preventDefault();
});

addEventListener("popstate", () => {
  const id = location.hash.match(/^#\/c\/([0-9a-f-]{36})$/)?.[1] ?? null;
  if (!$("room").hidden && id !== conversation) choose(id);
});

/// The lists may be another tab's work, or another device's.
async function refresh() {
  if ($("room").hidden || document.hidden) return;
  await attempt(async () => {
    projects = await list("/projects");
    if (project) conversations = await list(`/conversations/project/${project}`);
    drawLists();
  });
}
tabs.addEventListener("message", refresh);
addEventListener("visibilitychange", refresh);

$("ideas").replaceChildren(
  ...IDEAS.map(([title, text]) => {
    const choose = () => {
      $("composer").value = text;
      grow();
      $("compose").requestSubmit();
    };
    return element("li", {}, element("button", { type: "button", onclick: choose }, element("strong", {}, title), element("span", {}, text)));
  }),
);
show();
