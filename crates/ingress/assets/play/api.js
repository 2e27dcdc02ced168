// Requests over HTTP, and who makes them.
//
// The access token is kept in sessionStorage: it survives a reload, belongs to this tab alone, and goes when the tab is closed.
// localStorage would keep it for whoever uses the machine next; a cookie would be sent by itself, for pages that are not ours as
// well. What reads sessionStorage is script of this origin only, and the policy of this page lets no other script run. The
// refresh token is not stored at all: it is good for weeks, and two tabs with the same one would look like theft.

const KEY = "omnichat.session";
let refreshToken = null;

/// What a server refused, or could not do.
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail ?? "Something went wrong");
    Object.assign(this, { code: problem.code, status: problem.status, turn: problem.turn_id, retryAfter: problem.retry_after });
  }
}

export const session = {
  get() {
    try {
      return JSON.parse(sessionStorage.getItem(KEY));
    } catch {
      return null;
    }
  },
  get token() {
    return this.get()?.token ?? null;
  },
  keep(token, email) {
    sessionStorage.setItem(KEY, JSON.stringify({ token, email }));
  },
  end() {
    refreshToken = null;
    sessionStorage.clear();
  },
};

export const register = (email, password) => ask("POST", "/auth/register", { email, password });

export async function logIn(email, password) {
  const opened = await ask("POST", "/auth/login", { email, password });
  refreshToken = opened.refresh_token;
  session.keep(opened.access_token, email);
}

let renewing = null;

/// Gets another access token, once however many ask for it; false if that is not possible.
export function renew() {
  renewing ??= (async () => {
    if (!refreshToken) return false;
    const token = refreshToken;
    try {
      const opened = await ask("POST", "/auth/refresh", { refresh_token: token });
      refreshToken = opened.refresh_token;
      session.keep(opened.access_token, session.get()?.email);
      return true;
    } catch (error) {
      return !(error instanceof Problem);
    }
  })().finally(() => (renewing = null));
  return renewing;
}

/// A request of the user.
export const call = async (method, path, body) => read(await request(method, path, body));

/// All entries of a list, page by page.
export async function list(path) {
  const entries = [];
  for (let next = path; next; ) {
    const answer = await request("GET", next);
    entries.push(...(await read(answer)));
    next = answer.headers.get("link")?.match(/<([^>]+)>; rel="next"/)?.[1];
  }
  return entries;
}

/// A token that has expired is renewed.
async function request(method, path, body) {
  const answer = await send(method, path, body, session.token);
  return answer.status === 401 && (await renew()) ? send(method, path, body, session.token) : answer;
}

async function ask(method, path, body, token) {
  return read(await send(method, path, body, token));
}

function send(method, path, body, token) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  return fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
}

async function read(answer) {
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem({ status: answer.status, ...body });
  return body;
}
