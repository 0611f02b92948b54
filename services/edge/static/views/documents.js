// What answers rest on: how fresh each source is, what could not be read, and what a question finds.

import { all, call, get } from "../api.js";
import { card, count, day, el, figure, input, seconds, share, table } from "../dom.js";

export const every = 10;
const lag = (text) => (text ? `${seconds(text).toFixed(2)} s` : "-");
const path = (one) => one.document_id.split("/").map(encodeURIComponent).join("/");

export async function show(asked, go, { caller, confirm }) {
  const [sources, parked, found] = await Promise.all([
    get("/tollway/v1/sources"),
    all("/tollway/v1/parked", { limit: 1000 }),
    asked.query ? call("/tollway/v1/search", { method: "POST", body: { query: asked.query, collection: asked.collection ?? "" } }) : null,
  ]);
  const late = sources.data.filter((one) => seconds(one.lag_p99) > seconds(one.promised));
  const down = sources.data.filter((one) => !one.running);
  const changes = sources.data.reduce((sum, one) => sum + Number(one.changes), 0);
  const inTime = sources.data.reduce((sum, one) => sum + Number(one.in_time), 0);
  const sure = async (title, text, work) => {
    if (!(await confirm(title, el("p", {}, text)))) return;
    await work();
    go(asked);
  };
  const on = (one, method) => call(`/tollway/v1/parked/${path(one)}`, { method, query: { collection: one.collection } });
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(form)));
  } },
  input("Question", "query", asked.query ?? "", { required: true }),
  input("Collection", "collection", asked.collection ?? "", { placeholder: "all" }),
  el("button", { className: "strong" }, "Search"));
  return [
    el("div", { className: "cards" },
      figure("Sources", sources.data.length ? (down.length ? `${down.length} stand still` : "all run") : "none",
        down.map((one) => one.name).join(", ") || `of ${caller.tenant}`),
      figure("Fresh within the promise", changes ? share(inTime, changes) : "-", `${count(changes)} changes`),
      figure("Slower than promised", count(late.length), late.map((one) => one.name).join(", ")),
      figure("Parked", count(parked.length), "could not be read")),
    card("Freshness", table("From a change to its being searchable", [
      { title: "Source", cell: (one) => one.name }, { title: "Kind", cell: (one) => one.kind },
      { title: "Collection", cell: (one) => one.collection || "(the first)" },
      { title: "State", cell: (one) => el("span", { className: one.running ? "good" : "bad" },
        one.running ? "✓ runs" : `✗ ${one.fault || "nobody reads it"}`) },
      { title: "Documents", number: true, cell: (one) => count(Number(one.documents)) },
      { title: "Median", number: true, cell: (one) => lag(one.lag_p50) },
      { title: "99 of 100", number: true, cell: (one) => el("span", { className: late.includes(one) ? "bad" : "" }, lag(one.lag_p99)) },
      { title: "Promised", number: true, cell: (one) => lag(one.promised) },
      { title: "In time", number: true, cell: (one) => share(Number(one.in_time), Number(one.changes)) },
      { title: "", cell: (one) => el("button", { type: "button", className: "link", onclick: () => sure(
        `Read ${one.name} anew?`, "Everything in it is read again; what has not changed costs nothing.",
        () => call(`/tollway/v1/sources/${encodeURIComponent(one.name)}`, { method: "POST" })) }, "read anew") }],
    sources.data, "No source is followed: documents come by call. See retrieval.sources.")),
    card("Parked", table("What could not be read, and why", [
      { title: "Document", cell: (one) => one.document_id }, { title: "Collection", cell: (one) => one.collection },
      { title: "Source", cell: (one) => one.source }, { title: "Why", cell: (one) => one.reason },
      { title: "Tries", number: true, cell: (one) => count(one.tries) }, { title: "Last", cell: (one) => day(one.parked) },
      { title: "", cell: (one) => el("span", {},
        el("button", { type: "button", className: "link", onclick: async () => { await on(one, "POST"); go(asked); } }, "try again"), " ",
        el("button", { type: "button", className: "link", onclick: () => sure(
          `Forget ${one.document_id}?`, "It is not tried again until it is brought again.", () => on(one, "DELETE")) }, "forget")) }],
    parked, "Nothing is parked.")),
    card("What a question finds", form, ...(found ? [table(`Passages for: ${asked.query}`, [
      { title: "Document", cell: (one) => one.document_id }, { title: "Passage", cell: (one) => one.text },
      { title: "Score", number: true, cell: (one) => one.score.toFixed(3) },
      { title: "By", cell: (one) => Object.keys(one.parts ?? {}).join(", ") }], found.said.data, "Nothing is found.")] : [])),
  ];
}
