// What the cache spared and how right it was; what routing costs, and what other policies would have cost.

import { Refused, get } from "../api.js";
import { points } from "../charts.js";
import { card, count, el, figure, seconds, select, share, table, usd } from "../dom.js";

const NANO = 1e9;
const RANGES = [["24", "24 hours"], ["168", "7 days"], ["720", "30 days"]];
const FLOORS = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
const percent = (value) => `${(100 * value).toFixed(1)} %`;

export async function show(asked, go) {
  const hours = Number(asked.hours ?? 168);
  const [insight, replayed] = await Promise.all([get("/tollway/v1/insight"), replays(hours)]);
  const rows = insight.insights.map((one) => ({
    ...one, lookups: Number(one.lookups), exact: Number(one.exact), semantic: Number(one.semantic),
    usd: Number(one.saved_nano_usd) / NANO, s: seconds(one.saved),
  }));
  const sum = (name) => rows.reduce((whole, one) => whole + one[name], 0);
  const bins = rows.flatMap((one) => one.calibration.map((bin) => ({ ...bin, template: one.template })));
  const range = el("form", { className: "row" }, select("Decisions of the last", "hours", RANGES, String(hours)));
  range.addEventListener("change", () => go(Object.fromEntries(new FormData(range))));
  return [
    el("div", { className: "cards" },
      figure("Hits", share(sum("exact") + sum("semantic"), sum("lookups")),
        `${count(sum("exact"))} the same, ${count(sum("semantic"))} that mean the same, of ${count(sum("lookups"))}`),
      figure("Saved by the cache", usd(sum("usd")), `and ${count(sum("s"))} s of waiting`),
      figure("Served from a chance of", insight.threshold.toFixed(3), `so that at most ${percent(insight.error_bound)} are wrong`),
      figure("Wrong against foretold", `${insight.excess.toFixed(2)} times`, "where somebody told; 1 is as foretold")),
    card("The cache, by template", table("Since this replica of it began", [
      { title: "Template", cell: (one) => one.template || "(none)" },
      { title: "Look-ups", number: true, cell: (one) => count(one.lookups) },
      { title: "The same", number: true, cell: (one) => count(one.exact) },
      { title: "Means the same", number: true, cell: (one) => count(one.semantic) },
      { title: "Hits", number: true, cell: (one) => share(one.exact + one.semantic, one.lookups) },
      { title: "US dollars saved", number: true, cell: (one) => usd(one.usd) },
      { title: "Misses by reason", cell: (one) => Object.entries(one.misses).map(([why, many]) => `${why.toLowerCase().replaceAll("_", " ")}: ${many}`).join(", ") }],
    rows, "Nothing was looked up yet.")),
    card("How right its hits were", table("Semantic hits by how sure they were", [
      { title: "Template", cell: (one) => one.template || "(none)" },
      { title: "From", number: true, cell: (one) => one.from.toFixed(3) },
      { title: "Foretold", number: true, cell: (one) => percent(one.foretold) },
      { title: "Hits", number: true, cell: (one) => count(Number(one.hits)) },
      { title: "Told right", number: true, cell: (one) => count(Number(one.right)) },
      { title: "Told wrong", number: true, cell: (one) => count(Number(one.wrong)) }],
    bins, "No semantic hit yet.")),
    range,
    card("What routing costs, and other policies would have", ...routed(replayed)),
  ];
}

// The same decisions under policies from the cheapest to the best; null where none are kept.
async function replays(hours) {
  try {
    const under = (query) => get("/tollway/v1/replay", { ...query, hours });
    return await Promise.all([
      ...FLOORS.map(async (floor) => ({ name: `cheapest above ${floor}`, ...(await under({ rule: "cheapest_above", quality_floor: floor })) })),
      (async () => ({ name: "the best", ...(await under({ rule: "best_under_price" })) }))(),
      (async () => ({ name: "the fastest", ...(await under({ rule: "fastest" })) }))(),
    ]);
  } catch (error) {
    if (error instanceof Refused && [404, 409, 412, 400, 403].includes(error.status)) return null;
    throw error;
  }
}

function routed(replayed) {
  const decisions = replayed ? Number(replayed[0].decisions) : 0;
  if (!decisions) return [el("p", { className: "note" }, "No decisions are kept yet: ask for the model `auto`.")];
  const each = (nano) => (Number(nano) / NANO / decisions) * 1000;
  const rows = [{ name: "as decided", x: each(replayed[0].cost_before_nano_usd), y: replayed[0].quality_before },
    ...replayed.map((one) => ({ name: one.name, x: each(one.cost_after_nano_usd), y: one.quality_after }))];
  return [
    points(`Cost against quality of ${count(decisions)} decisions`, { label: "US dollars for a thousand", format: usd },
      { label: "predicted quality", format: (value) => value.toFixed(2) }, rows),
    table(`${count(decisions)} decisions, replayed`, [
      { title: "Policy", cell: (one) => one.name },
      { title: "US dollars for a thousand", number: true, cell: (one) => usd(one.x) },
      { title: "Predicted quality", number: true, cell: (one) => one.y.toFixed(3) }], rows),
    table("Who stood first, as decided", [
      { title: "Model", cell: (one) => one.model },
      { title: "Decisions", number: true, cell: (one) => share(Number(one.before), decisions) }],
    replayed[0].shares.filter((one) => Number(one.before))),
  ];
}
