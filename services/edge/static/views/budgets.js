// Limits and how much of them is gone; who is stopped. Administrators change both, and see what changes first.

import { all, call } from "../api.js";
import { card, count, el, input, select, table, usd, when } from "../dom.js";

const UNITS = [["usd", "US dollars"], ["tokens", "tokens"], ["requests", "requests"], ["concurrent", "at once"]];
const WINDOWS = [["month", "month"], ["day", "day"], ["minute", "minute"], ["total", "for ever"],
  ["rolling_hour", "any hour"], ["rolling_day", "any 24 hours"], ["rolling_30_days", "any 30 days"]];
const amount = (one, value) => (one.unit === "usd" ? usd(value) : count(value));
const words = (pairs, key) => Object.fromEntries(pairs)[key] ?? key;

export async function show(asked, go, { caller, confirm }) {
  const account = asked.account ?? "";
  const [budgets, suspended] = await Promise.all([
    all("/tollway/v1/budgets", { account, limit: 1000 }),
    caller.admin ? all("/tollway/v1/suspensions", { limit: 1000 }) : [],
  ]);
  const remove = async (one) => {
    if (!(await confirm(`Remove budget ${one.name} of ${one.account}?`, el("p", {}, "What was spent stays in the books.")))) return;
    await call("/tollway/v1/budgets", { method: "DELETE", query: { account: one.account, name: one.name } });
    go(asked);
  };
  const look = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(look)));
  } }, input("Account", "account", account, { placeholder: caller.account }), el("button", {}, "Show"));
  return [
    look,
    card("Budgets", table("Budgets of the account and of those above it", [
      { title: "Budget", cell: (one) => `${one.account}:${one.name}${one.model ? ` (${one.model})` : ""}` },
      { title: "Per", cell: (one) => words(WINDOWS, one.window) },
      { title: "Limit", number: true, cell: (one) => amount(one, one.limit) },
      { title: "Spent", number: true, cell: (one) => amount(one, one.spent) },
      { title: "Left", number: true, cell: (one) => amount(one, one.available) },
      { title: "Gone", cell: (one) => el("progress", { max: 1, ariaLabel: `${one.name}: part that is gone`,
        value: one.limit ? Math.min((one.spent + one.held) / one.limit, 1) : 1 }) },
      { title: "Begins anew", cell: (one) => (one.resets ? when(one.resets) : "") },
      ...(caller.admin ? [{ title: "", cell: (one) => el("span", {},
        el("button", { type: "button", className: "link", onclick: () => go({ ...asked, edit: `${one.account}:${one.name}` }) }, "change"), " ",
        el("button", { type: "button", className: "link", onclick: () => remove(one) }, "remove")) }] : [])],
    budgets, "No budget: nothing is refused.")),
    ...(caller.admin ? [editor(asked, go, confirm, budgets), stopping(go, asked, confirm, suspended)] : []),
  ];
}

function editor(asked, go, confirm, budgets) {
  const before = budgets.find((one) => `${one.account}:${one.name}` === asked.edit);
  const now = before ?? { account: asked.account ?? "", name: "main", unit: "usd", window: "month", limit: "", warn_at: 0.8, model: "", time_zone: "" };
  const form = el("form", { className: "row", onsubmit: async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(form));
    const made = { ...said, limit: Number(said.limit), warn_at: Number(said.warn_at) };
    const changes = Object.keys(made).map((name) => [name, before?.[name], made[name]])
      .filter(([, was, is]) => String(was ?? "") !== String(is));
    const list = el("ul", {}, changes.map(([name, was, is]) =>
      el("li", {}, `${name}: `, ...(before ? [el("del", {}, String(was)), " "] : []), el("ins", {}, String(is)))));
    const title = `${before ? "Change" : "Set"} budget ${made.name} of ${made.account}?`;
    if (!(await confirm(title, changes.length ? list : el("p", {}, "Nothing changes.")))) return;
    await call("/tollway/v1/budgets", { method: "PUT", body: made });
    go({ account: asked.account ?? "" });
  } },
  input("Account", "account", now.account, { required: true }), input("Name", "name", now.name, { required: true }),
  input("Limit", "limit", now.limit, { required: true, type: "number", min: 0, step: "any" }),
  select("Of", "unit", UNITS, now.unit), select("Per", "window", WINDOWS, now.window),
  input("Model, or a class by *", "model", now.model, { placeholder: "all" }),
  input("Time zone", "time_zone", now.time_zone, { placeholder: "UTC" }),
  input("Warn from (0 to 1)", "warn_at", now.warn_at, { type: "number", min: 0, max: 1, step: "any" }),
  el("button", { className: "strong" }, before ? "Change" : "Set"));
  return card(before ? "Change a budget" : "Set a budget", form);
}

function stopping(go, asked, confirm, suspended) {
  const stop = el("form", { className: "row", onsubmit: async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(stop));
    if (!(await confirm(`Stop ${said.account}?`, el("p", {}, "It and all below it are refused everywhere within a second.")))) return;
    await call("/tollway/v1/suspensions", { method: "PUT", body: said });
    go(asked);
  } }, input("Account", "account", "", { required: true }), input("Why", "reason"), el("button", {}, "Suspend"));
  const resume = async (one) => {
    await call("/tollway/v1/suspensions", { method: "DELETE", query: { account: one.account } });
    go(asked);
  };
  return card("Suspended accounts", stop, table("Accounts that are stopped, with all below them", [
    { title: "Account", cell: (one) => one.account }, { title: "Since", cell: (one) => when(one.since) },
    { title: "Why", cell: (one) => one.reason }, { title: "By", cell: (one) => one.by || "a safeguard" },
    { title: "", cell: (one) => el("button", { type: "button", onclick: () => resume(one) }, "Resume") }],
  suspended, "Nobody is stopped."));
}
