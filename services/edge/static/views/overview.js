// How things stand: health, today's spending, what people should know.

import { all, get } from "../api.js";
import { filled, lines } from "../charts.js";
import { ago, card, count, el, figure, share, table, usd, when } from "../dom.js";

const total = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);
export const every = 10;

export async function show() {
  const midnight = new Date(new Date().setUTCHours(0, 0, 0, 0)).toISOString().slice(0, 19);
  const [today, hours, forecast, budgets, alerts, status, jobs] = await Promise.all([
    get("/tollway/v1/usage", { since: midnight }),
    all("/tollway/v1/usage", { group_by: "hour", since: ago(48), limit: 1000 }),
    get("/tollway/v1/forecast"),
    all("/tollway/v1/budgets", { limit: 1000 }),
    get("/tollway/v1/alerts", { limit: 1000 }),
    get("/tollway/v1/status"),
    get("/tollway/v1/jobs", { limit: 100 }),
  ]);
  const day = today.data[0] ?? { cost_usd: 0, requests: 0, cached_requests: 0, input_tokens: 0, output_tokens: 0 };
  const spent = total(hours, "cost_usd");
  const stamp = (row) => Date.parse(`${row.group.replace(" ", "T")}:00Z`) / 1000;
  const since = Date.now() / 1000 - 48 * 3600;
  const [times, costs] = filled(hours, since, 3600, stamp, (row) => row.cost_usd);
  const [, requests] = filled(hours, since, 3600, stamp, (row) => row.requests);
  const nearest = budgets.filter((one) => one.limit && one.unit !== "concurrent")
    .sort((one, other) => other.spent / other.limit - one.spent / one.limit)[0];
  const down = status.services.filter((one) => !one.serving);
  const waiting = jobs.data.filter((one) => ["queued", "running"].includes(one.status)).length;
  return [
    el("div", { className: "cards" },
      figure("Spent today (UTC)", usd(day.cost_usd), `${count(day.input_tokens + day.output_tokens)} tokens`),
      figure("This month", usd(forecast.spent_usd), forecast.days
        ? `expected ${usd(forecast.expected_usd)}, from ${usd(forecast.low_usd)} to ${usd(forecast.high_usd)}`
        : "a forecast needs a whole day"),
      figure("Requests today", count(day.requests), `${share(day.cached_requests, day.requests)} from the cache`),
      figure("Nearest budget", nearest ? share(nearest.spent, nearest.limit) : "-",
        nearest ? `${nearest.account}:${nearest.name}` : "no budget is set"),
      figure("Services", down.length ? `${down.length} away` : "all serve", down.map((one) => one.name).join(", ")),
      figure("Jobs under way", count(waiting), "among the last hundred")),
    card("The last two days, by the hour",
      lines(`Spending by the hour: ${usd(spent)} in all`, times, [
        { label: "US dollars", values: costs, tint: "--accent", fill: true, format: usd, scale: "usd" },
        { label: "requests", values: requests, tint: "--warn", format: count, scale: "many" }])),
    el("div", { className: "two" },
      card("Services", table("Services on the road, asked just now", [
        { title: "Service", cell: (one) => one.name },
        { title: "State", cell: (one) => el("span", { className: one.serving ? "good" : "bad" },
          one.serving ? "✓ serving" : `✗ ${one.why}`) },
        { title: "Answered in", number: true, cell: (one) => `${one.took_ms.toFixed(1)} ms` }], status.services)),
      card("Models", table("Models, as their calls went lately", [
        { title: "Model", cell: (one) => one.model },
        { title: "State", cell: (one) => el("span", { className: one.available ? "good" : "bad" },
          one.available ? "✓ available" : "✗ left alone for now") },
        { title: "Errors", number: true, cell: (one) => `${(100 * one.error_rate).toFixed(0)} %` },
        { title: "Latency", number: true, cell: (one) => (one.latency_ms ? `${one.latency_ms.toFixed(0)} ms` : "-") },
        { title: "Load", number: true, cell: (one) => `${(100 * one.saturation).toFixed(0)} %` }], status.models))),
    card("Alerts", table("What people should know of, the latest first", [
      { title: "When", cell: (one) => when(one.at) },
      { title: "What", cell: (one) => el("span", { className: one.kind === "suspended" ? "bad" : "warn" }, one.kind) },
      { title: "Account", cell: (one) => one.account },
      { title: "", cell: (one) => one.text }], alerts.data.slice(-20).reverse(), "No alerts: all is quiet.")),
  ];
}
