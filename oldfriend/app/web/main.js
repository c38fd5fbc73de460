// Puts the page together: theme, key, and the three parts.

import { get, key, whenKeyIsNeeded } from "./api.js";
import { $, question } from "./dom.js";
import * as memory from "./memory.js";
import * as personas from "./personas.js";
import * as talk from "./talk.js";

const root = document.documentElement, THEME = "oldfriend-theme", WHY = "oldfriend-why";

function theme(value) {
  if (value) root.dataset.theme = value;
  localStorage.setItem(THEME, value);
}
theme(localStorage.getItem(THEME) ?? "");
$("theme").addEventListener("click", () => {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(dark ? "light" : "dark");
});

function why(on) {
  document.body.classList.toggle("with-why", on);
  $("why-toggle").setAttribute("aria-pressed", String(on));
  localStorage.setItem(WHY, on ? "1" : "");
}
why(Boolean(localStorage.getItem(WHY)));
$("why-toggle").addEventListener("click", () => why(!document.body.classList.contains("with-why")));

let asking = null; // several requests may want the key at once
whenKeyIsNeeded(() => {
  asking ??= question({
    title: "Your API key", label: "Key", secret: true, yes: "Enter",
    text: key.get() ? "That key opens nothing here." : "This server asks who you are.",
  }).then((given) => {
    asking = null;
    if (given !== null) key.set(given);
    return given !== null;
  });
  return asking;
});

// Goes on where the conversation stopped: the latest turns, as they are remembered.
async function resume() {
  const { data } = await get("/v1/memories?kind=turn&limit=30");
  for (const { text } of data.reverse()) {
    const mine = text.startsWith("user: ");
    talk.turn(text.slice(text.indexOf(": ") + 2), mine ? "me" : "");
  }
  return data.length;
}

talk.start(personas.model);
talk.whenRemembered(memory.refresh);
memory.start();
memory.whenErased(() => { talk.clear(); personas.load(); });
try {
  await personas.start();
  if (!(await resume())) talk.greet(personas.greeting());
  personas.whenPicked((one) => talk.greet(one.greeting));
} catch (error) {
  $("status").textContent = `That did not work: ${error.message}.`;
}
$("message").focus();
root.dataset.ready = "yes";
