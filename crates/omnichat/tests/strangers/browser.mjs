// Chromium on the page /play. Runs one scenario; whatever is not as it should be ends it with an error.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[1]);
/// Far beyond every time here.
const PATIENCE = 60000;
/// An answer that can be met on its way: some 60 words, one every 50 ms.
const SLOW = "tell me [[sim first_ms=400 chunk_ms=50 chunks=60]]";
const ENDLESS = "tell me [[sim first_ms=50 chunk_ms=50 chunks=2000]]";

const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox"] });
const wrong = [];

/// A window of its own, with nothing remembered; what it complains of is wrong.
async function newPage(context) {
  context ??= await browser.newContext();
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(`${error.stack ?? error}`));
  page.on("console", (message) => {
    // A request that is refused, and a line that breaks, are named there by the browser itself.
    const expected = /Failed to load resource|WebSocket connection to|ERR_INTERNET_DISCONNECTED/;
    if (message.type() === "error" && !expected.test(message.text())) wrong.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.origin !== given.address) wrong.push(`asked for ${url}`);
  });
  return page;
}

async function signIn(page, path = "/play") {
  await page.goto(given.address + path);
  await page.getByLabel("E-mail").fill(given.email);
  await page.getByLabel("Password").fill(given.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await connected(page);
  return page;
}

const connected = (page) => page.locator("#line[data-state=open]").waitFor();
const answers = (page) => page.locator(".message.assistant");
const last = (page) => answers(page).last();
const text = async (page) => (await last(page).locator(".text").textContent()).trim();
const status = (page, name) => page.locator(`.message.assistant:last-child[data-status=${name}]`).waitFor();

async function send(page, content) {
  await page.getByLabel("Your message").fill(content);
  await page.getByRole("button", { name: "Send" }).click();
}

/// Waits until some of the answer that is being written is there, and gives it. The last one that is shown may still be the
/// one before.
async function begun(page) {
  const writing = ".message.assistant:last-child[data-status=writing] .text";
  await page.waitForFunction((text) => document.querySelector(text)?.textContent.length > 10, writing);
  return text(page);
}

/// What the server has of the conversation that is shown.
async function stored(page) {
  const id = new URL(page.url()).hash.split("/").pop();
  const headers = { authorization: `Bearer ${given.token}` };
  const answer = await fetch(`${given.address}/conversations/${id}/messages`, { headers });
  return answer.json();
}

/// The page shows what the server has: so many messages, and this very answer.
async function isStored(page, messages) {
  const there = await stored(page);
  assert.equal(there.length, messages);
  // What is text is shown as elements: words are compared.
  const words = (said) => said.replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  assert.equal(words(await text(page)), words(there.at(-1).content));
  assert.equal(await page.locator(".message").count(), messages);
}

const scenarios = {
  async a_newcomer_gets_an_answer_by_keys_alone() {
    const page = await newPage();
    const answer = await page.goto(`${given.address}/play`);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    // The first field has the focus; the rest is found with Tab.
    await page.keyboard.type(`new-${given.email}`);
    await page.keyboard.press("Tab");
    await page.keyboard.type("password");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "create-account");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: /\S/ }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "password", "what was refused has the focus");
    await page.keyboard.press("Control+A");
    await page.keyboard.type(given.password);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await connected(page);
    assert.equal(await page.evaluate(() => document.activeElement.id), "composer");
    await page.keyboard.type("Good morning!");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("And **hello** <b>there</b>.");
    await page.keyboard.press("Enter");
    await status(page, "completed");
    assert.equal(await page.locator(".message.user .text").textContent(), "Good morning!\nAnd **hello** <b>there</b>.");
    assert.equal(await page.locator("#title").textContent(), "Good morning!");
    // Every step of the path was passed, each not before the one before.
    const steps = await last(page).locator(".path li.passed").evaluateAll((all) => all.map((one) => [one.dataset.step, parseInt(one.querySelector("b").textContent)]));
    assert.deepEqual(steps.map(([step]) => step), ["sent", "accepted", "first", "done"]);
    assert.ok(steps.every(([, ms], at) => at === 0 || ms >= steps[at - 1][1]), JSON.stringify(steps));
    await page.getByRole("status").filter({ hasText: "The answer is complete." }).waitFor();
    // Everything that can be used has a name, and no field is without its label.
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a, input, select, textarea")]
        .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length))
        .map((one) => one.outerHTML),
    );
    assert.deepEqual(nameless, []);
    await page.keyboard.press("Alt+k");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Alt+n");
    assert.equal(await page.locator("#title").textContent(), "New conversation");
    await page.keyboard.press("Alt+ArrowDown");
    await status(page, "completed");
    // The token is this tab's alone.
    const kept = await page.evaluate(() => [localStorage.length, document.cookie, sessionStorage.length > 0]);
    assert.deepEqual(kept, [0, "", true]);
    const refresh = await page.evaluate(() => JSON.stringify(sessionStorage).includes("refresh"));
    assert.equal(refresh, false);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  },

  async a_reload_in_the_middle_of_an_answer_loses_nothing() {
    const page = await signIn(await newPage());
    await send(page, SLOW);
    await begun(page);
    await page.reload();
    await connected(page);
    await page.locator(".message.assistant").waitFor();
    assert.match(await last(page).getAttribute("data-status"), /waiting|writing/, "it still runs");
    await status(page, "completed");
    await isStored(page, 2);
    const passed = await last(page).locator(".path li.passed").count();
    assert.equal(passed, 4, "how long each step took is remembered");
    await page.reload();
    await status(page, "completed");
    await isStored(page, 2);
    // So is a message that was sent in the very moment of a reload.
    await page.getByLabel("Your message").fill("and then?");
    await page.evaluate(() => {
      document.getElementById("send").click();
      location.reload();
    });
    await page.waitForFunction(() => document.querySelectorAll(".message.assistant[data-status=completed]").length === 2);
    await isStored(page, 4);
  },

  async a_second_tab_shows_what_the_first_one_does() {
    const first = await signIn(await newPage());
    await send(first, "hello");
    await status(first, "completed");
    const second = await signIn(await newPage(), `/play${new URL(first.url()).hash}`);
    await status(second, "completed");
    assert.equal(await text(second), await text(first));
    await send(first, SLOW);
    const met = await begun(second);
    assert.equal(await second.locator(".message.user").last().locator(".text").textContent(), SLOW);
    assert.ok(met.length > 10, "it is shown while it is written");
    await Promise.all([status(first, "completed"), status(second, "completed")]);
    await Promise.all([isStored(first, 4), isStored(second, 4)]);
    // The other way round, and into the same conversation.
    await send(second, "and then?");
    await first.waitForFunction(() => document.querySelectorAll(".message.assistant[data-status=completed]").length === 3);
    await isStored(first, 6);
  },

  async an_answer_is_stopped_from_another_tab() {
    const first = await signIn(await newPage());
    await send(first, "hello");
    await status(first, "completed");
    const second = await signIn(await newPage(), `/play${new URL(first.url()).hash}`);
    await send(first, ENDLESS);
    await begun(first);
    await begun(second);
    await second.keyboard.press("Escape");
    await Promise.all([status(first, "cancelled"), status(second, "cancelled")]);
    assert.equal(await last(first).locator(".note").textContent(), "Stopped.");
    const said = await text(first);
    assert.ok(said.length > 10, "what was said stays");
    assert.equal(await text(second), said);
    await first.locator("#stop").waitFor({ state: "hidden" });
    assert.equal((await stored(first)).length, 3, "what was stopped is no answer");
    await send(first, "hello again");
    await status(first, "completed");
  },

  async what_is_said_offline_is_sent_later() {
    const context = await browser.newContext();
    const page = await signIn(await newPage(context));
    await send(page, "hello");
    await status(page, "completed");
    await send(page, SLOW);
    await begun(page);
    await context.setOffline(true);
    await page.locator("#line[data-state=offline]").waitFor();
    await send(page, "and while nobody hears me?");
    await page.locator(".message.assistant:last-child .note").filter({ hasText: "as soon as the connection is there" }).waitFor();
    assert.equal((await stored(page)).filter(({ role }) => role === "user").length, 2);
    await context.setOffline(false);
    await connected(page);
    await page.waitForFunction(() => document.querySelectorAll(".message.assistant[data-status=completed]").length === 3);
    await isStored(page, 6);
    const there = await stored(page);
    const shown = await page.locator(".message .text").allTextContents();
    const words = (said) => said.replace(/[^\p{L}\p{N}]+/gu, " ").trim();
    assert.deepEqual(shown.map(words), there.map(({ content }) => words(content)), "each once, in order");
  },

  async an_answer_is_made_anew() {
    const page = await signIn(await newPage());
    await send(page, "hello");
    await status(page, "completed");
    const before = await last(page).getAttribute("data-turn");
    await page.getByRole("button", { name: "Answer anew" }).click();
    await page.waitForFunction((before) => {
      const last = document.querySelector(".message.assistant:last-child");
      return last?.dataset.status === "completed" && last.dataset.turn !== before;
    }, before);
    await isStored(page, 2);
    assert.equal((await stored(page)).at(-1).turn_id, await last(page).getAttribute("data-turn"));
    // What fails says why, and the next message is answered.
    await send(page, "[[sim status=403]]");
    await status(page, "failed");
    assert.match(await last(page).locator(".note").textContent(), /provider_misconfigured/);
    await send(page, "hello");
    await status(page, "completed");
  },

  async a_session_that_ends_leads_to_the_door() {
    const page = await signIn(await newPage());
    await page.evaluate(() => sessionStorage.setItem("omnichat.session", JSON.stringify({ token: "x.y.z", email: "a@b" })));
    await page.reload();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await signIn(page);
    await send(page, "hello");
    await status(page, "completed");
    await isStored(page, 2);
  },
};

try {
  await scenarios[given.scenario]();
  assert.deepEqual(wrong, [], "the browser complains of nothing");
  console.log("as it should be");
} finally {
  await browser.close();
}
