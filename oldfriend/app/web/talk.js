// The conversation: what is said, what comes back, and what is behind it.

import { say } from "./api.js";
import { $, make } from "./dom.js";

const log = $("talk"), message = $("message"), send = $("send"), status = $("status");
const told = new Set();
let changed = () => {};
export const whenRemembered = (act) => { changed = act; };

export function turn(text, kind = "") {
  const who = kind === "me" ? "You: " : "";
  const words = make("span", { text });
  const node = make("div", { className: `turn ${kind}` },
    make("span", { className: "hidden", text: who }), words);
  log.append(node);
  down();
  return { node, words };
}

export function greet(text) {
  for (const old of log.querySelectorAll(".greeting")) old.remove();
  if (text) turn(text, "greeting");
}

export function clear() { log.replaceChildren(); told.clear(); }

export function start(model) {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    speak(model());
  });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      speak(model());
    }
  });
  message.addEventListener("input", fit);
}

async function speak(model) {
  const text = message.value.trim();
  if (!text || send.disabled) return;
  message.value = "";
  fit();
  const mine = turn(text, "me"), id = randomId();
  send.disabled = true;
  status.textContent = "";
  const reply = turn("", "waiting");
  try {
    const why = await hear(model, text, id, reply);
    reply.node.classList.remove("waiting");
    behind(why);
    changed();
  } catch (error) {
    reply.node.remove();
    mine.node.remove();
    message.value = text;
    fit();
    status.textContent = `That did not work: ${error.message}.`;
  } finally {
    send.disabled = false;
    message.focus();
  }
}

// A broken connection is tried again once: with the same id, nothing is remembered twice.
async function hear(model, text, id, reply) {
  const heard = (piece) => { reply.words.textContent += piece; down(); };
  try {
    return await say(model, text, id, heard);
  } catch (error) {
    if (error.status) throw error;
    reply.words.textContent = "";
    return await say(model, text, id, heard);
  }
}

function behind(why) {
  if (!why) return;
  for (const record of why.noted) aside(`Noted: ${record.text}`);
  for (const record of why.undone) aside(`Taken back: ${record.text}`);
  for (const notice of why.notices) {
    if (!told.has(notice)) status.textContent = notice;
    told.add(notice);
  }
  const lines = [
    ...why.reasons,
    ...(why.quote ? [`It stands on: ${why.quote}`] : []),
    ...why.hits.map((hit) => `${hit.score.toFixed(2)}  ${hit.text}`),
    ...why.notices,
    Object.entries(why.seconds).map(([step, s]) => `${step} ${Math.round(1000 * s)} ms`).join(", "),
  ];
  log.append(make("details", { className: "why", on: { toggle: down } }, make("summary", { text: "Why I said that" }),
    make("ul", {}, ...lines.map((line) => make("li", { text: line })))));
  down();
}

function aside(text) { log.append(make("p", { className: "noted", text })); }
function down() { log.scrollTop = log.scrollHeight; }

// crypto.randomUUID needs https, and this page may come by http from another machine.
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join("");
}

function fit() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight + 2}px`;
}
