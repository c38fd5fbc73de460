// Everything that is asked of the server. The key, if one is needed, stays in this browser tab.

const KEY = "oldfriend-key";

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `the server answered ${status}`);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value.trim()),
};

let askForKey = async () => false;
export const whenKeyIsNeeded = (ask) => { askForKey = ask; };

export async function ask(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  for (;;) {
    const sent = { ...headers };
    if (key.get()) sent.Authorization = `Bearer ${key.get()}`;
    if (json !== undefined) sent["Content-Type"] = "application/json";
    const answer = await fetch(path, {
      method, headers: sent, signal, body: json === undefined ? body : JSON.stringify(json),
    });
    if (answer.ok) return answer;
    const problem = new Refused(answer.status, await answer.json().catch(() => null));
    if (answer.status !== 401 || !(await askForKey())) throw problem;
  }
}

export const get = async (path) => (await ask(path)).json();

// Says something; `heard` gets each piece of the reply. Returns what is behind it.
export async function say(model, text, id, heard) {
  const answer = await ask("/v1/chat/completions", {
    method: "POST",
    headers: { "Idempotency-Key": id },
    json: {
      model, stream: true, oldfriend: { why: true }, messages: [{ role: "user", content: text }],
    },
  });
  let why = null, whole = false;
  for await (const event of events(answer.body)) {
    if (event === "[DONE]") { whole = true; break; }
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Refused(500, chunk);
    if (chunk.oldfriend) why = chunk.oldfriend;
    const piece = chunk.choices[0]?.delta?.content;
    if (piece) heard(piece);
  }
  if (!whole) throw new Error("the connection broke");
  return why;
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
  }
}
