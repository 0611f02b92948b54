// Work off the request path: what waits, what runs, what failed and why.

import { call, get } from "../api.js";
import { card, el, select, table, when } from "../dom.js";

const STATES = [["", "all"], ["queued", "queued"], ["running", "running"], ["succeeded", "succeeded"], ["failed", "failed"],
  ["cancelled", "cancelled"], ["dead", "dead"]];
export const every = 5;

export async function show(asked, go) {
  const page = await get("/tollway/v1/jobs", { status: asked.status ?? "", limit: 200 });
  const act = (one, what) => el("button", { type: "button", className: "link", onclick: async () => {
    await call(`/tollway/v1/jobs/${one.id}/${what}`, { method: "POST" });
    go(asked);
  } }, what);
  const form = el("form", { className: "row" }, select("Only", "status", STATES, asked.status ?? ""));
  form.addEventListener("change", () => go(Object.fromEntries(new FormData(form))));
  return [form, card("Jobs", table("The newest first", [
    { title: "Job", cell: (one) => one.id }, { title: "Kind", cell: (one) => one.kind },
    { title: "State", cell: (one) => el("span", { className: { succeeded: "good", failed: "bad", dead: "bad" }[one.status] ?? "" }, one.status) },
    { title: "Done", number: true, cell: (one) => `${one.succeeded + one.failed} of ${one.total}` },
    { title: "Handed in", cell: (one) => when(one.created_at) },
    { title: "Why", cell: (one) => one.error?.message ?? "" },
    { title: "", cell: (one) => (["queued", "running"].includes(one.status) ? act(one, "cancel")
      : ["failed", "dead"].includes(one.status) ? act(one, "retry") : "") }],
  page.data, "No jobs."))];
}
