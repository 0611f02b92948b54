// What was settled, the latest first; and the road of one request as its trace tells it.

import { get } from "../api.js";
import { ago, card, count, el, input, select, table, usd, when } from "../dom.js";
import { road } from "../road.js";

const PAGE = 100;
const SPANS = [["1", "hour"], ["24", "day"], ["168", "7 days"], ["2160", "90 days"]];
const TRACE = "tollway.trace";

export async function show(asked, go, { caller }) {
  const tag = (asked.tag ?? "").split("=");
  const query = {
    account: asked.account ?? "", model: asked.model ?? "", key_id: asked.key ?? "", since: ago(Number(asked.hours ?? 24)),
    order: "newest", limit: PAGE, page_token: asked.after ?? "", ...(tag.length === 2 ? { [`tag.${tag[0]}`]: tag[1] } : {}),
  };
  const page = await get("/tollway/v1/entries", query);
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(form)));
  } },
  input("Account, with all below", "account", asked.account ?? "", { placeholder: "all that you may see" }),
  input("Model", "model", asked.model ?? "", { placeholder: "all" }),
  input("Key", "key", asked.key ?? "", { placeholder: "all" }),
  input("Tag", "tag", asked.tag ?? "", { placeholder: "name=value" }),
  select("Over the last", "hours", SPANS, String(asked.hours ?? 24)),
  caller.admin ? input("Trace", "trace", asked.trace ?? "", { placeholder: "32 hexadecimal digits" }) : null,
  el("button", { className: "strong" }, "Show"));
  const traced = asked.trace ? [card("The road of one request", road(await get(`/tollway/v1/traces/${asked.trace}`)))] : [];
  const way = (one) => (caller.admin && one.tags[TRACE]
    ? el("button", { type: "button", className: "link", onclick: () => go({ ...asked, trace: one.tags[TRACE] }) }, "road")
    : "");
  const turn = el("p", { className: "row" },
    asked.after ? el("button", { type: "button", onclick: () => go({ ...asked, after: "" }) }, "Latest") : null,
    page.next_page_token
      ? el("button", { type: "button", onclick: () => go({ ...asked, after: page.next_page_token }) }, "Earlier") : null);
  return [
    form, ...traced,
    card("Requests", table(`${count(page.data.length)} requests, the latest first`, [
      { title: "When", cell: (one) => when(one.at) }, { title: "Account", cell: (one) => one.account },
      { title: "Model", cell: (one) => (one.cached ? "(from the cache)" : one.model) },
      { title: "Tokens in", number: true, cell: (one) => count(one.input_tokens) },
      { title: "Tokens out", number: true, cell: (one) => count(one.output_tokens) },
      { title: "US dollars", number: true, cell: (one) => usd(one.cost_usd) },
      { title: "Tags", cell: (one) => Object.entries(one.tags).filter(([name]) => name !== TRACE)
        .map(([name, value]) => `${name}=${value}`).join(", ") },
      { title: "Road", cell: way }], page.data), turn),
  ];
}
