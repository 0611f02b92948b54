// One request, and everything that happened to it: what was masked, who answered, what it cost, its road.

import { call, get } from "../api.js";
import { card, el, input, select, table } from "../dom.js";
import { road } from "../road.js";

export async function show(asked, go, { caller }) {
  const models = (await get("/v1/models")).data.map((one) => [one.id, one.id]);
  const out = el("div", { ariaLive: "polite" });
  const form = el("form", { onsubmit: async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(form));
    const send = form.querySelector("button");
    send.disabled = true;
    out.replaceChildren(el("p", { className: "note" }, "On its way ..."));
    try {
      out.replaceChildren(...await sent(said, caller));
    } catch (error) {
      out.replaceChildren(el("p", { className: "bad" }, `${error.message}${error.code ? ` (${error.code})` : ""}`));
    } finally {
      send.disabled = false;
    }
  } },
  el("div", { className: "row" }, select("Model", "model", models, "auto"),
    input("Most tokens", "most", 200, { type: "number", min: 1 }),
    select("Cache", "cache", [["", "use it"], ["no-cache", "do not look"], ["no-store", "do not keep"]], "")),
  el("label", { className: "wide" }, "Prompt", el("textarea", { name: "prompt", required: true,
    placeholder: "Try a mail address: it is masked on its way out, and restored on its way back." })),
  el("p", { className: "row" }, el("button", { className: "strong" }, "Send")));
  return [card("Ask", form), out];
}

async function sent(said, caller) {
  const headers = { "x-tollway-trace": "1", ...(said.cache ? { "x-tollway-cache": said.cache } : {}) };
  const body = { model: said.model, max_tokens: Number(said.most), messages: [{ role: "user", content: said.prompt }] };
  const began = performance.now();
  const made = await call("/v1/chat/completions", { method: "POST", body, headers });
  const took = performance.now() - began;
  const told = [...made.headers].filter(([name]) => name.startsWith("x-tollway-"))
    .map(([name, value]) => ({ name: name.replace("x-tollway-", ""), value }));
  told.push({ name: "tokens", value: `${made.said.usage.prompt_tokens} in, ${made.said.usage.completion_tokens} out` },
    { name: "took", value: `${took.toFixed(0)} ms` });
  const shown = [card("Answer", el("p", { className: "answer" }, made.said.choices[0].message.content ?? "")),
    card("What happened", table("As the answer's headers tell", [
      { title: "", cell: (row) => row.name }, { title: "", cell: (row) => row.value }], told))];
  if (!caller.admin) return shown;
  const trace = made.headers.get("x-tollway-trace");
  for (let n = 0; n < 10; n += 1) {
    try {
      return [...shown, card("Its road", road(await get(`/tollway/v1/traces/${trace}`)))];
    } catch (error) {
      if (error.status !== 404) throw error;
      await new Promise((done) => setTimeout(done, 100)); // spans end a moment after the answer
    }
  }
  return shown;
}
