// A trace as a timeline: each span a bar, under the one that it belongs to.

import { el, table } from "./dom.js";

const told = (one) => [...Object.entries(one.attributes).map(([name, value]) => `${name} = ${value}`), ...one.events];
const short = (one) => one.name.replace(/^tollway\.(\w+)\.v1\.\w+\//, "$1 ");

export function road(trace) {
  const spans = [...trace.spans].sort((one, other) => one.start_us - other.start_us);
  const start = Math.min(...spans.map((one) => one.start_us));
  const end = Math.max(...spans.map((one) => one.end_us));
  const known = new Map(spans.map((one) => [one.span_id, one]));
  const depth = (one) => (known.has(one.parent_id) ? 1 + depth(known.get(one.parent_id)) : 0);
  const rows = spans.flatMap((one) => {
    const bar = el("span", { className: `span${one.error ? " failed" : ""}` });
    bar.style.left = `${(100 * (one.start_us - start)) / (end - start || 1)}%`;
    bar.style.width = `${(100 * (one.end_us - one.start_us)) / (end - start || 1)}%`;
    const name = el("span", { className: "name", title: [one.name, ...told(one)].join("\n") }, `${"· ".repeat(depth(one))}${short(one)}`);
    return [name, el("span", { className: "lane" }, bar), el("span", {}, `${((one.end_us - one.start_us) / 1000).toFixed(2)} ms`)];
  });
  return el("div", {}, el("p", { className: "note" }, `${spans.length} spans in ${((end - start) / 1000).toFixed(2)} ms, trace ${trace.trace_id}`),
    el("div", { className: "road" }, rows),
    table("What each step has told", [
      { title: "Step", cell: short },
      { title: "Told", cell: (one) => el("ul", { className: "told" }, told(one).map((line) => el("li", {}, line))) },
    ], spans.filter((one) => told(one).length)));
}
