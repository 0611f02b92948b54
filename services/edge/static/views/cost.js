// Who spent what on what: by account, model, key, tag or time, and down from there.

import { all, get } from "../api.js";
import { filled, lines } from "../charts.js";
import { ago, card, count, el, figure, input, select, share, table, usd } from "../dom.js";

const RANGES = [["24", "24 hours"], ["168", "7 days"], ["720", "30 days"], ["2160", "90 days"]];
const GROUPS = [["account", "account"], ["model", "model"], ["key", "key"], ["template", "template"], ["day", "day"], ["tag", "tag ..."]];

export async function show(asked, go) {
  const hours = Number(asked.hours ?? 168);
  const group = asked.by ?? "account";
  const by = group === "tag" ? `tag:${asked.tag || "team"}` : group;
  const query = { account: asked.account ?? "", model: asked.model ?? "", since: ago(hours), limit: 1000 };
  const hourly = hours <= 48;
  const [rows, steps, forecast] = await Promise.all([
    all("/tollway/v1/usage", { ...query, group_by: by }),
    all("/tollway/v1/usage", { ...query, group_by: hourly ? "hour" : "day" }),
    get("/tollway/v1/forecast", { account: asked.account ?? "" }),
  ]);
  rows.sort((one, other) => other.cost_usd - one.cost_usd);
  const sum = (name) => rows.reduce((whole, row) => whole + row[name], 0);
  const [baseline, cachedBaseline] = ["baseline_usd", "cached_baseline_usd"].map(sum);
  const [cost, requests, cached] = ["cost_usd", "requests", "cached_requests"].map(sum);
  const step = hourly ? 3600 : 86400;
  const stamp = (row) => Date.parse(hourly ? `${row.group.replace(" ", "T")}:00Z` : `${row.group}T00:00:00Z`) / 1000;
  const [times, costs] = filled(steps, Date.now() / 1000 - hours * 3600, step, stamp, (row) => row.cost_usd);
  const deeper = { account: (row) => ({ account: row.group }), model: (row) => ({ model: row.group, by: "account" }) };
  const name = (row) => (deeper[group] && row.group
    ? el("button", { type: "button", className: "link", onclick: () => go({ ...asked, ...deeper[group](row) }) }, row.group)
    : row.group || (group === "model" ? "(from the cache)" : "(none)"));
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(form)));
  } },
  input("Account, with all below", "account", asked.account ?? "", { placeholder: "all that you may see" }),
  input("Model", "model", asked.model ?? "", { placeholder: "all" }),
  select("Over", "hours", RANGES, String(hours)), select("By", "by", GROUPS, group),
  input("Tag", "tag", asked.tag ?? "", { placeholder: "team" }),
  el("button", { className: "strong" }, "Show"));
  return [
    form,
    el("div", { className: "cards" },
      figure("Spent", usd(cost)), figure("Requests", count(requests), `${share(cached, requests)} from the cache`),
      ...(baseline ? [figure("Saved", share(baseline - cost, baseline),
        `${usd(cachedBaseline)} by the cache, ${usd(baseline - cachedBaseline - cost)} by routing, against the strongest model alone`)] : []),
      figure("Tokens", count(sum("input_tokens") + sum("output_tokens"))),
      figure("A request", requests ? usd(cost / requests) : "-"),
      figure("The month's end", forecast.days ? usd(forecast.expected_usd) : "-",
        forecast.days ? `${usd(forecast.low_usd)} to ${usd(forecast.high_usd)}` : "needs a whole day")),
    card(hourly ? "By the hour" : "By the day", lines(`Spending: ${usd(cost)} in all`, times,
      [{ label: "US dollars", values: costs, tint: "--accent", fill: true, format: usd }])),
    card(`By ${by}`, table(`Usage by ${by}, the dearest first`, [
      { title: group === "tag" ? by : group, cell: name },
      { title: "Requests", number: true, cell: (row) => count(row.requests) },
      { title: "From the cache", number: true, cell: (row) => share(row.cached_requests, row.requests) },
      { title: "Tokens in", number: true, cell: (row) => count(row.input_tokens) },
      { title: "Tokens out", number: true, cell: (row) => count(row.output_tokens) },
      { title: "US dollars", number: true, cell: (row) => {
        const bar = el("span", { className: "bar" });
        bar.style.width = `${cost ? (100 * row.cost_usd) / cost : 0}%`;
        return el("span", {}, usd(row.cost_usd), bar);
      } }], rows)),
  ];
}
