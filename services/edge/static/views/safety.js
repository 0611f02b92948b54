// What the guard found and did lately, what its policies say, and what they would do with a text.

import { call, get } from "../api.js";
import { filled, lines } from "../charts.js";
import { card, count, day, el, figure, select, share, table } from "../dom.js";

const RANGES = [["24", "24 hours"], ["48", "2 days"], ["168", "7 days"]];
const ACTIONS = ["BLOCK", "MASK", "FLAG", "ALLOW"];
const word = (action) => action.replace("ACTION_", "").toLowerCase();
const rank = (action) => ACTIONS.indexOf(action.replace("ACTION_", ""));
export const every = 30;

export async function show(asked, go) {
  const hours = Number(asked.hours ?? 24);
  const [seen, policies] = await Promise.all([
    get("/tollway/v1/findings", { hours }), get("/tollway/v1/policies")]);
  const prompts = seen.tallies.filter((one) => !one.type);
  const findings = seen.tallies.filter((one) => one.type);
  const total = (rows) => rows.reduce((sum, one) => sum + Number(one.count), 0);
  const blocked = prompts.filter((one) => one.action === "ACTION_BLOCK");
  const spared = prompts.filter((one) => one.action !== one.would_be);
  const stamp = (one) => Date.parse(one.hour) / 1000;
  const byHour = (rows) => {
    const sums = new Map();
    for (const one of rows) sums.set(one.hour, { hour: one.hour, count: (sums.get(one.hour)?.count ?? 0) + Number(one.count) });
    return [...sums.values()].sort((one, other) => stamp(one) - stamp(other));
  };
  const since = Date.now() / 1000 - hours * 3600;
  const [times, many] = filled(byHour(findings), since, 3600, stamp, (one) => one.count);
  const [, stops] = filled(byHour(blocked), since, 3600, stamp, (one) => one.count);
  const kinds = new Map();
  for (const one of findings) {
    const name = `${one.type} ${one.action}`;
    kinds.set(name, { type: one.type, action: one.action, count: (kinds.get(name)?.count ?? 0) + Number(one.count) });
  }
  const range = el("form", { className: "row" }, select("Over the last", "hours", RANGES, String(hours)));
  range.addEventListener("change", () => go(Object.fromEntries(new FormData(range))));
  const answer = el("div", { ariaLive: "polite" });
  const form = el("form", { onsubmit: async (event) => {
    event.preventDefault();
    const { said } = await call("/tollway/v1/explain", { method: "POST", body: { text: new FormData(form).get("text") } });
    answer.replaceChildren(...explained(said));
  } },
  el("label", { className: "wide" }, "A text, as a user would send it", el("textarea", { name: "text", rows: 4, required: true })),
  el("p", { className: "row" }, el("button", { className: "strong" }, "Try it")));
  return [
    range,
    el("div", { className: "cards" },
      figure("Prompts", count(total(prompts)), `since ${day(seen.since)} at the earliest, by the guard that answers`),
      figure("Blocked", count(total(blocked)), share(total(blocked), total(prompts))),
      figure("Findings", count(total(findings)), `of ${new Set(findings.map((one) => one.type)).size} types`),
      figure("Let through by a dry run", count(total(spared)),
        spared.length ? `would have been: ${[...new Set(spared.map((one) => word(one.would_be)))].join(", ")}` : "")),
    card("By the hour", lines(`Findings: ${count(total(findings))} in all`, times, [
      { label: "findings", values: many, tint: "--accent", fill: true, format: count, scale: "many" },
      { label: "prompts blocked", values: stops, tint: "--warn", format: count, scale: "many" }])),
    card("By type", table("What was found, and what was done about it", [
      { title: "Type", cell: (one) => one.type },
      { title: "Done", cell: (one) => el("span", { className: one.action === "ACTION_BLOCK" ? "bad" : "" }, word(one.action)) },
      { title: "Times", number: true, cell: (one) => count(one.count) }],
    [...kinds.values()].sort((one, other) => other.count - one.count), "Nothing was found.")),
    card("Policies", table("In force for you", [
      { title: "Tenant", cell: (one) => (one.tenant === "*" ? "all others" : one.tenant) },
      { title: "Version", cell: (one) => one.version.slice(0, 12) },
      { title: "Prompts", cell: (one) => rules(one.prompt) }, { title: "Answers", cell: (one) => rules(one.completion) },
      { title: "Attacks", number: true, cell: (one) => `blocked from ${one.block_injection_at.toFixed(2)}` },
      { title: "Mode", cell: (one) => el("span", { className: one.dry_run ? "warn" : "good" }, one.dry_run ? "dry run" : "in force") }],
    policies.data)),
    card("What would policy do?", form, answer),
  ];
}

const rules = (actions) => Object.entries(actions).sort((one, other) => rank(one[1]) - rank(other[1]))
  .map(([type, action]) => `${type === "*" ? "all others" : type}: ${word(action)}`).join(", ");

function explained(said) {
  const broken = said.rules.filter((one) => one.broken);
  return [
    el("p", {}, "It is ", el("strong", {}, word(said.verdict.action)), said.verdict.rule ? ` by ${said.verdict.rule}` : "",
      `; an attack with probability ${said.injection_probability.toFixed(3)}.`),
    table("Findings", [
      { title: "Type", cell: (one) => one.type }, { title: "Why", cell: (one) => one.reason },
      { title: "Score", number: true, cell: (one) => one.score.toFixed(2) },
      { title: "Done", cell: (one) => word(one.action) }], said.findings, "Nothing is found in it."),
    ...(broken.length ? [table("Rules that it breaks", [
      { title: "Rule", cell: (one) => one.rule }, { title: "Asks for", cell: (one) => word(one.action) }], broken)] : []),
    ...(said.masked ? [el("h3", {}, "As a model would get it"), el("pre", {}, said.masked)] : []),
  ];
}
