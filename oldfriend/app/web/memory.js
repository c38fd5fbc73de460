// The inspector: what is remembered, and what the person does about it.

import { ask, get } from "./api.js";
import { $, make, question } from "./dom.js";

const PAGE = 50, MADE = ["turn", "session", "insight"]; // these are no notes
const panel = $("memory"), list = $("memories"), count = $("memory-count"), query = $("query");
let shown = 0, asked = 0, erased = () => {};
export const whenErased = (act) => { erased = act; };

export function start() {
  $("memory-button").addEventListener("click", () => (panel.hidden ? open() : close()));
  $("memory-close").addEventListener("click", close);
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  let pause = 0;
  query.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(refresh, 250); });
  $("memory-search").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  $("with-turns").addEventListener("change", refresh);
  $("more").addEventListener("click", () => page(shown));
  $("export").addEventListener("click", takeAlong);
  $("forget-all").addEventListener("click", forgetMe);
}

export function refresh() { if (!panel.hidden) page(0); }

function open() {
  panel.hidden = false;
  $("memory-button").setAttribute("aria-expanded", "true");
  query.focus();
  page(0);
}

function close() {
  panel.hidden = true;
  $("memory-button").setAttribute("aria-expanded", "false");
  $("memory-button").focus();
}

async function page(from) {
  const number = ++asked, words = query.value.trim();
  const kind = $("with-turns").checked ? "" : "notes";
  const path = words
    ? `/v1/memories/search?limit=50&q=${encodeURIComponent(words)}`
    : `/v1/memories?limit=${PAGE}&offset=${from}&kind=${kind}`;
  try {
    const { data, total } = await get(path);
    if (number !== asked) return; // a later question overtook this one
    if (!from) list.replaceChildren();
    list.append(...data.map(item));
    shown = from + data.length;
    $("more").hidden = Boolean(words) || shown >= total;
    const what = words ? "found" : "remembered";
    count.textContent = total ? `${total} ${what}` : words ? "Nothing found." : "Nothing yet.";
  } catch (error) {
    count.textContent = `That did not work: ${error.message}.`;
  }
}

function item(memory) {
  const since = new Date(memory.since).toLocaleDateString();
  const said = make("span", { text: memory.text, className: memory.current ? "text" : "text over" });
  const about = [memory.kind, `since ${since}`, memory.state].filter(Boolean).join(" · ");
  const named = (word) => `${word}: ${memory.text}`;
  const act = (word, does, extra = {}) => make("button", {
    type: "button", text: word, ...extra, "aria-label": named(word),
    on: { click: () => attempt(does) },
  });
  const acts = [];
  if (memory.slot && memory.current && !MADE.includes(memory.kind)) acts.push(act("Wrong", () => correct(memory)));
  acts.push(act(memory.pinned ? "Unpin" : "Pin", () => pin(memory)));
  acts.push(act("Forget", () => forget(memory), { className: "danger" }));
  return make("li", {}, said, make("div", { className: "small", text: about }),
    make("div", { className: "acts" }, ...acts));
}

async function attempt(does) {
  try { await does(); } catch (error) { count.textContent = `That did not work: ${error.message}.`; }
}

async function correct(memory) {
  const value = await question({
    title: "What is right?", text: memory.text, label: "Instead it is", value: memory.value,
    yes: "Put right",
  });
  if (value === null) return;
  await ask(`/v1/memories/${memory.id}`, { method: "PATCH", json: { value } });
  refresh();
}

async function pin(memory) {
  await ask(`/v1/memories/${memory.id}`, { method: "PATCH", json: { pinned: !memory.pinned } });
  refresh();
}

async function forget(memory) {
  const { erases } = await get(`/v1/memories/${memory.id}`);
  const lines = erases.map((line) => line.slice(line.indexOf(" ") + 1));
  const sure = await question({
    title: "Forget this for good?", list: lines, yes: "Forget",
    text: "It is erased with what says the same, and cannot come back.",
  });
  if (sure === null) return;
  const done = await (await ask(`/v1/memories/${memory.id}`, { method: "DELETE" })).json();
  await page(0);
  const also = done.also.length ? ` Other memories still mention ${done.also.join(", ")}.` : "";
  count.textContent = `${proof(done)}${also}`;
}

async function forgetMe() {
  const word = await question({
    title: "Forget everything about you?", label: "Type “forget me” to be sure", yes: "Forget me",
    text: "All memories, what was learnt from them and the cards you brought are erased.",
  });
  if (word === null) return;
  if (word.trim().toLowerCase() !== "forget me") {
    count.textContent = "Nothing was forgotten.";
    return;
  }
  await attempt(async () => {
    const done = await (await ask("/v1/memories?everything=true", { method: "DELETE" })).json();
    await page(0);
    count.textContent = proof(done);
    erased();
  });
}

function proof(done) {
  if (done.waits) return `Erased ${done.erased}; the memory server follows when it is back.`;
  const found = done.clean ? "looked for in every file, and found nowhere" : "NOT all of it is gone";
  return `Erased ${done.erased}: ${found}.`;
}

async function takeAlong() {
  await attempt(async () => {
    const blob = await (await ask("/v1/memories/export")).blob();
    const link = make("a", { href: URL.createObjectURL(blob), download: "memories.jsonl" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}
