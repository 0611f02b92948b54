// What was settled lately, one by one; and the road of one request as its trace tells it.

import { all, get } from "../api.js";
import { ago, card, count, el, input, select, table, usd, when } from "../dom.js";
import { road } from "../road.js";

export async function show(asked, go, { caller }) {
  const minutes = Number(asked.minutes ?? 60);
  const rows = await all("/tollway/v1/entries", { account: asked.account ?? "", since: ago(minutes / 60), limit: 1000 });
  const latest = rows.slice(-200).reverse();
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(form)));
  } },
  input("Account, with all below", "account", asked.account ?? "", { placeholder: "all that you may see" }),
  select("Over the last", "minutes", [["10", "10 minutes"], ["60", "hour"], ["720", "12 hours"]], String(minutes)),
  caller.admin ? input("Trace", "trace", asked.trace ?? "", { placeholder: "32 hexadecimal digits" }) : null,
  el("button", { className: "strong" }, "Show"));
  const traced = asked.trace ? [card("The road of one request", road(await get(`/tollway/v1/traces/${asked.trace}`)))] : [];
  return [
    form, ...traced,
    card("Requests", table(`The latest ${latest.length} of ${count(rows.length)}`, [
      { title: "When", cell: (one) => when(one.at) }, { title: "Account", cell: (one) => one.account },
      { title: "Model", cell: (one) => (one.cached ? "(from the cache)" : one.model) },
      { title: "Tokens in", number: true, cell: (one) => count(one.input_tokens) },
      { title: "Tokens out", number: true, cell: (one) => count(one.output_tokens) },
      { title: "US dollars", number: true, cell: (one) => usd(one.cost_usd) },
      { title: "Tags", cell: (one) => Object.entries(one.tags).map(([name, value]) => `${name}=${value}`).join(", ") }],
    latest)),
  ];
}
