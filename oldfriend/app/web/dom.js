// Small helpers. Text from anywhere goes in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function make(tag, { text, on = {}, ...props } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  if (text !== undefined) node.textContent = text;
  for (const [event, act] of Object.entries(on)) node.addEventListener(event, act);
  node.append(...children);
  return node;
}

// A question in a dialog: the value of its field (or "yes"), null if the answer is no.
export async function question({ title, text = "", list = [], label = "", value = "", yes = "OK",
  secret = false }) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-list").replaceChildren(...list.map((line) => make("li", { text: line })));
  $("ask-list").hidden = !list.length;
  $("ask-field").hidden = !label;
  $("ask-label").textContent = label;
  const field = $("ask-value");
  field.type = secret ? "password" : "text";
  field.value = value;
  field.required = Boolean(label);
  $("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  (label ? field : $("ask-no")).focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const said = dialog.returnValue === "yes";
  const answer = said ? field.value || "yes" : null;
  field.value = "";
  return answer;
}

// Enter in the field means yes, although "Cancel" stands first.
$("ask-value").addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    $("ask-form").requestSubmit($("ask-yes"));
  }
});
