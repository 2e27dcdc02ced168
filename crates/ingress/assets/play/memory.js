// What a tab remembers over a reload: the turns that run, so that they are gone on with where they were, and how long steps took.
// It is kept where the token is, and goes with it.

const TURNS = "omnichat.turns";
const SENDING = "omnichat.sending";
/// Turns that are remembered.
const TURNS_MAX = 100;

function load(key, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function keep(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Without room there is nothing to remember, and the record still has everything.
  }
}

/// What is known of a turn: `{ conversation, path, text, seen }`, the last two while it runs.
export const remembered = (turn) => load(TURNS, {})[turn];

export function remember(turn, known) {
  const turns = load(TURNS, {});
  delete turns[turn];
  turns[turn] = known;
  for (const oldest of Object.keys(turns).slice(0, -TURNS_MAX)) delete turns[oldest];
  keep(TURNS, turns);
}

/// The turns of a conversation that ran when they were last seen.
export const running = (conversation) =>
  Object.entries(load(TURNS, {})).filter(([, known]) => known.conversation === conversation && known.seen !== undefined);

/// What is being sent, until it is known to have arrived. A send that is repeated with its key is the same.
export const sending = () => load(SENDING, []);
export const sends = (send) => keep(SENDING, [...sending(), send]);
export const sent = (key) => keep(SENDING, sending().filter((send) => send.key !== key));

/// A key for a send. (randomUUID is not there where a page came over plain HTTP from another machine.)
export const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
