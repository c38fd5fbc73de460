// Who one talks with: choose, bring a card, let it go.

import { ask, get } from "./api.js";
import { $, make } from "./dom.js";

const CHOSEN = "oldfriend-persona", MOST = 16 * 2 ** 20;
const dialog = $("personas"), cast = $("cast"), drop = $("drop"), status = $("import-status");
let all = [], chosen = null, pictures = new Map(), picked = () => {};

export const model = () => chosen?.id ?? "friend";
export const greeting = () => chosen?.greeting ?? "";
export const whenPicked = (act) => { picked = act; };

export async function start() {
  $("persona-button").addEventListener("click", () => { dialog.showModal(); load(); });
  $("personas-close").addEventListener("click", () => dialog.close());
  $("card").addEventListener("change", (event) => bring(event.target.files));
  // The whole page takes cards, so that nobody has to aim.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!dialog.open) dialog.showModal();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    bring(event.dataTransfer.files);
  });
  await load();
  choose(all.find((one) => one.id === localStorage.getItem(CHOSEN)) ?? all[0]);
}

export async function load() {
  ({ data: all } = await get("/v1/models"));
  cast.replaceChildren(...all.map(item));
  if (chosen && !all.some((one) => one.id === chosen.id)) choose(all[0]);
}

function choose(one) {
  const other = chosen?.id !== one.id;
  chosen = one;
  localStorage.setItem(CHOSEN, one.id);
  $("persona-name").textContent = one.name;
  face($("face"), one);
  if (other) picked(one);
}

function item(one) {
  const mark = make("span", { className: "face", "aria-hidden": "true" });
  face(mark, one);
  const pick = make("button", {
    type: "button", className: "pick", "aria-pressed": String(one.id === model()),
    on: { click: () => { choose(one); dialog.close(); $("message").focus(); } },
  }, mark, make("span", { text: one.name }));
  const drop = make("button", {
    type: "button", text: "Delete", className: "danger", "aria-label": `Delete ${one.name}`,
    on: { click: () => remove(one) },
  });
  return make("li", {}, pick, ...(one.own ? [drop] : []));
}

async function face(node, one) {
  node.textContent = one.picture ? "" : one.name.slice(0, 1).toUpperCase();
  node.style.backgroundImage = "";
  if (!one.picture) return;
  if (!pictures.has(one.id)) {
    pictures.set(one.id, ask(`/v1/personas/${encodeURIComponent(one.id)}/picture`)
      .then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
  }
  try {
    node.style.backgroundImage = `url("${await pictures.get(one.id)}")`;
  } catch {
    pictures.delete(one.id);
    node.textContent = one.name.slice(0, 1).toUpperCase();
  }
}

async function bring(files) {
  for (const file of files) {
    status.textContent = `Reading ${file.name}…`;
    try {
      if (file.size > MOST) throw new Error("it is larger than 16 MB");
      const answer = await ask(`/v1/personas?filename=${encodeURIComponent(file.name.slice(-255))}`, {
        method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
      });
      const one = await answer.json();
      await load();
      status.textContent = `${one.name} is here.`;
    } catch (error) {
      status.textContent = `${file.name} was not taken: ${error.message}.`;
    }
  }
  $("card").value = "";
}

async function remove(one) {
  try {
    await ask(`/v1/personas/${encodeURIComponent(one.id)}`, { method: "DELETE" });
    pictures.delete(one.id);
    status.textContent = `${one.name} is gone.`;
    await load();
  } catch (error) {
    status.textContent = `That did not work: ${error.message}.`;
  }
}
