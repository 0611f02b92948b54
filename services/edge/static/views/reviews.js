// Requests that a policy keeps, masked, and answers that wait for a person.

import { call, get } from "../api.js";
import { card, day, el, input, select, table, usd } from "../dom.js";

const STATES = [["waiting", "waiting"], ["", "all"], ["approved", "approved"], ["corrected", "corrected"], ["rejected", "rejected"]];

export async function show(asked, go) {
  const state = asked.review ?? "waiting";
  const page = await get("/tollway/v1/records", { review: state, limit: 200 });
  const form = el("form", { className: "row" }, select("Only", "review", STATES, state));
  form.addEventListener("change", () => go(Object.fromEntries(new FormData(form))));
  const open = (one) => el("button", { type: "button", className: "link", onclick: () => go({ review: state, record: one.id }) }, one.id.slice(0, 8));
  const shown = asked.record ? [await record(asked, state, go)] : [];
  return [form, ...shown, card("Answers", table("The newest first", [
    { title: "Record", cell: open }, { title: "When", cell: (one) => day(one.at) },
    { title: "Account", cell: (one) => one.account }, { title: "Model", cell: (one) => one.model },
    { title: "Why", cell: (one) => one.causes.join(", ") }, { title: "Found", cell: (one) => one.findings.join(", ") },
    { title: "Now", cell: (one) => (one.held && one.review === "waiting" ? "holds the answer" : one.review ?? "kept") },
    { title: "By", cell: (one) => one.reviewer ?? "" }],
  page.data, "Nobody waits for a person."))];
}

async function record(asked, state, go) {
  const one = await get(`/tollway/v1/records/${asked.record}`);
  const decide = async (decision, said = {}) => {
    await call(`/tollway/v1/records/${one.id}/decide`, { method: "POST", body: { decision, ...said } });
    go({ review: state });
  };
  const form = el("form", { className: "stack", onsubmit: async (event) => {
    event.preventDefault();
    const decision = event.submitter.value;
    const said = Object.fromEntries(new FormData(form));
    await decide(decision, { reason: said.reason, correction: decision === "corrected" ? said.correction : "" });
  } },
  el("label", {}, "What should have been answered", el("textarea", { name: "correction", rows: 5, value: one.answer })),
  input("Why", "reason"),
  el("div", { className: "row" }, el("button", { value: "approved", className: "strong" }, "Approve"),
    el("button", { value: "corrected" }, "Correct"), el("button", { value: "rejected" }, "Reject")));
  return card(`Record ${one.id.slice(0, 8)}`,
    el("p", { className: "note" }, `${one.model}, ${one.route_reason}, ${usd(one.cost_usd)}, ${one.took_s.toFixed(2)} s, trace ${one.trace_id}`,
      one.prompt.length ? `, ${one.prompt.join(", ")}` : ""),
    el("dl", {}, one.messages.flatMap((each) => [el("dt", {}, each.role), el("dd", {}, each.content)]),
      el("dt", {}, "answer"), el("dd", {}, one.answer)),
    ...(one.review === "waiting" ? [form] : [el("p", {}, `${one.review ?? "kept"} ${one.reason ?? ""}`)]));
}
