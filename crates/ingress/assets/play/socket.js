// The WebSocket: opened again whenever it breaks. What was asked for and not answered is asked again; a send has a key, so it is
// the same turn.

import { Problem, renew, session } from "./api.js";

const PROTOCOL = "omnichat.v1";
/// The longest pause between two tries.
const PAUSE_MAX = 8000;
/// After so long without a word the other end is asked whether it is there, and after so long more given up.
const QUIET = 20000;
const PATIENCE = 8000;

/// Events: `frame` (of a turn), `state` ("connecting", "open", "offline", "closed"), `open`, `denied`.
export class Line extends EventTarget {
  #socket = null;
  #asked = new Map();
  #count = 0;
  #tries = 0;
  #timer = 0;
  #quiet = 0;
  #wanted = false;

  constructor() {
    super();
    addEventListener("online", () => this.#again(0));
    // What is written now goes nowhere, though it takes a while until the line is found to be cut.
    addEventListener("offline", () => this.#drop());
  }

  open() {
    this.#wanted = true;
    this.#again(0);
  }

  close() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    this.#asked.clear();
    this.#socket?.close(1000);
  }

  get isOpen() {
    return this.#socket?.ready === true && this.#socket.readyState === WebSocket.OPEN;
  }

  /// Asks for something, and resolves with its answer. If the line breaks before, it is asked again over the next one, unless
  /// it is only worth something `now`.
  ask(request, now = false) {
    return new Promise((resolve, reject) => {
      const ref = String(++this.#count);
      this.#asked.set(ref, { request: { ...request, ref }, resolve, reject, now });
      if (this.isOpen) this.#say(ref);
    });
  }

  #say(ref) {
    this.#socket.send(JSON.stringify(this.#asked.get(ref).request));
  }

  #again(pause) {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.#socket) return;
    if (!navigator.onLine) return this.#tell("state", "offline");
    this.#tell("state", "connecting");
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #connect() {
    if (this.#socket || !this.#wanted) return;
    const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
    const socket = new WebSocket(address, [PROTOCOL, `bearer.${session.token}`]);
    this.#socket = socket;
    socket.addEventListener("message", (message) => {
      if (socket === this.#socket) this.#hear(JSON.parse(message.data));
    });
    socket.addEventListener("close", (close) => {
      if (socket === this.#socket) this.#lost(close);
    });
    this.#listen();
  }

  #hear(frame) {
    this.#listen();
    if (frame.id) return this.#tell("frame", frame);
    if (frame.event === "ready") {
      this.#socket.ready = true;
      this.#tries = 0;
      for (const ref of this.#asked.keys()) this.#say(ref);
      this.#tell("state", "open");
      this.#tell("open");
      return;
    }
    // The process is about to end: there is a moment until the next one, or until it is here again.
    if (frame.event === "reconnect") this.#tries = 2;
    const asked = this.#asked.get(frame.ref);
    if (!asked) return;
    this.#asked.delete(frame.ref);
    if (frame.event === "reply") asked.resolve(frame.data);
    else asked.reject(new Problem(frame.data));
  }

  /// The line is as good as cut.
  #drop() {
    const socket = this.#socket;
    if (!socket) return this.#again(0);
    this.#lost({ code: 1006 });
    socket.close();
  }

  async #lost({ code }) {
    clearTimeout(this.#quiet);
    this.#socket = null;
    for (const [ref, asked] of this.#asked) {
      if (!asked.now) continue;
      this.#asked.delete(ref);
      asked.reject(new Problem({ detail: "The connection was lost", code: "lost" }));
    }
    if (code === 4401 && !(await renew())) {
      this.#wanted = false;
      return this.#tell("denied");
    }
    if (!this.#wanted) return this.#tell("state", "closed");
    const pause = Math.min(PAUSE_MAX, 250 * 2 ** this.#tries++);
    this.#again(pause / 2 + (Math.random() * pause) / 2);
  }

  /// Waits for the next word, and finds out whether the other end is still there: a tunnel cuts a line without telling.
  #listen() {
    clearTimeout(this.#quiet);
    const socket = this.#socket;
    this.#quiet = setTimeout(() => {
      if (this.isOpen) socket.send('{"op":"ping"}');
      this.#quiet = setTimeout(() => {
        if (socket === this.#socket) this.#drop();
      }, PATIENCE);
    }, QUIET);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
