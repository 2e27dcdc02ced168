// One turn on the page: the answer while it is written, and the path that it takes.

import { remember, remembered } from "./memory.js";
import { element, elements } from "./text.js";

/// The steps of every turn, in order.
const STEPS = [
  ["sent", "queued"],
  ["accepted", "accepted"],
  ["first", "first token"],
  ["done", "done"],
];
const RUNS = ["waiting", "writing"];

export class Turn {
  /// `actions`: what can be done with an answer, as `[name, function]`.
  constructor(conversation, { id = null, status = "waiting", text = "", actions = [] } = {}) {
    Object.assign(this, { conversation, id: null, status, text, seen: undefined, path: {}, model: "" });
    this.words = element("div", { class: "text" });
    this.note = element("p", { class: "note" });
    this.steps = element("ol", { class: "path", "aria-label": "Path of this turn" });
    const buttons = actions.map(([name, act]) => element("button", { type: "button", class: "quiet", onclick: () => act(this) }, name));
    this.element = element(
      "article",
      { class: "message assistant" },
      element("h3", {}, "Answer"),
      this.words,
      this.note,
      element("div", { class: "below" }, this.steps, element("div", { class: "actions" }, ...buttons)),
    );
    if (id) this.is(id);
    this.draw();
  }

  get runs() {
    return RUNS.includes(this.status);
  }

  /// The turn is known: what is remembered of it holds.
  is(id) {
    this.id = id;
    this.element.dataset.turn = id;
    const known = remembered(id);
    if (known) {
      this.path = { ...known.path, ...this.path };
      if (this.runs && known.seen !== undefined) {
        this.text = known.text;
        this.seen = known.seen;
        if (this.text) this.status = "writing";
      }
    }
    this.keep();
    this.draw();
  }

  /// Takes an event of the turn.
  take({ id, event, data }) {
    this.seen = id;
    switch (event) {
      case "accepted":
        this.pass("accepted");
        this.say(data.queue_position > 0 ? `Waits behind ${data.queue_position} in this conversation.` : "");
        break;
      case "started":
        this.say("");
        break;
      case "delta":
        this.pass("first");
        this.text += data.text;
        this.status = "writing";
        this.say("");
        break;
      case "restarted":
        this.text = "";
        this.status = "waiting";
        this.say("It was interrupted, and is answered anew.");
        break;
      case "completed":
        this.text = data.response;
        this.model = data.model;
        this.end("completed", data.finish_reason === "length" ? "The model was cut at its longest answer." : "");
        break;
      case "cancelled":
        this.end("cancelled", "Stopped.");
        break;
      case "failed":
        this.fail(data);
        break;
    }
    this.keep();
    this.draw();
  }

  fail({ detail, message, code }) {
    this.end("failed", `${detail ?? message}${code ? ` (${code})` : ""}`);
    this.keep();
    this.draw();
  }

  end(status, note) {
    this.status = status;
    this.pass("done");
    this.say(note);
  }

  pass(step) {
    this.path[step] ??= Date.now();
  }

  say(note) {
    this.note.textContent = note;
  }

  keep() {
    if (!this.id) return;
    const { conversation, path, text, seen } = this;
    remember(this.id, this.runs ? { conversation, path, text, seen: seen ?? null } : { conversation, path });
  }

  /// Draws once per frame of the screen, however much was heard.
  draw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.element.dataset.status = this.status;
      this.element.setAttribute("aria-busy", String(this.runs));
      this.words.replaceChildren(...elements(this.text));
      this.element.firstChild.textContent = this.model ? `Answer · ${this.model}` : "Answer";
      this.drawPath();
      this.ondraw?.();
    });
  }

  drawPath() {
    const { path } = this;
    this.steps.hidden = path.sent === undefined && path.accepted === undefined;
    const from = path.sent ?? path.accepted;
    const reached = STEPS.map(([step]) => path[step] !== undefined);
    const next = this.runs ? reached.lastIndexOf(true) + 1 : -1;
    this.steps.replaceChildren(
      ...STEPS.map(([step, name], at) => {
        const bad = step === "done" && ["failed", "cancelled"].includes(this.status);
        const state = bad ? "bad" : reached[at] ? "passed" : at === next ? "next" : "";
        const label = bad ? this.status : name;
        const time = reached[at] ? element("b", {}, milliseconds(path[step] - from)) : "";
        return element("li", { class: state, "data-step": step }, label, time);
      }),
    );
  }
}

function milliseconds(ms) {
  return ms < 10000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}
