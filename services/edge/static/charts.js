// Lines over time, by uPlot; the same figures stand in a table beside them.

import { el } from "./dom.js";

const ink = () => getComputedStyle(document.body).getPropertyValue("--ink").trim();
const tint = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

export function lines(label, times, series) {
  const place = el("div", { className: "chart", role: "img", ariaLabel: label });
  const axis = { stroke: ink, grid: { stroke: () => tint("--line") }, ticks: { stroke: () => tint("--line") } };
  const draw = () => {
    const width = place.clientWidth || 600;
    const plot = new uPlot({
      width,
      height: 220,
      cursor: { drag: { x: false, y: false } },
      scales: Object.fromEntries(series.map((one) => [one.scale ?? "y", { range: (u, low, high) => [0, high || 1] }])),
      series: [{}, ...series.map((one) => ({
        label: one.label, scale: one.scale ?? "y", stroke: tint(one.tint), width: 2, fill: one.fill && tint("--fill"),
        points: { show: times.length < 3 }, value: (u, value) => (value === null ? "-" : one.format(value)),
      }))],
      axes: [axis, ...series.filter((one, n) => n === series.findIndex((other) => other.scale === one.scale)).map((one, n) =>
        ({ ...axis, scale: one.scale ?? "y", side: n ? 1 : 3, size: 74, grid: { show: !n, stroke: () => tint("--line") },
          values: (u, ticks) => ticks.map(one.format) }))],
    }, [times, ...series.map((one) => one.values)], place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth || width, height: 220 })).observe(place);
  };
  requestAnimationFrame(draw);
  return place;
}

// Points of two measures, each with its name; the same figures stand in a table beside them.
export function points(label, across, up, rows) {
  const place = el("div", { className: "chart", role: "img", ariaLabel: label });
  const axis = { stroke: ink, grid: { stroke: () => tint("--line") }, ticks: { stroke: () => tint("--line") }, size: 60 };
  const sorted = [...rows].sort((one, other) => one.x - other.x);
  const names = (plot) => {
    plot.ctx.fillStyle = ink();
    plot.ctx.font = `${12 * devicePixelRatio}px sans-serif`;
    for (const one of sorted) plot.ctx.fillText(one.name, plot.valToPos(one.x, "x", true) + 8, plot.valToPos(one.y, "y", true) - 8);
  };
  requestAnimationFrame(() => {
    const width = place.clientWidth || 600;
    const far = Math.max(...sorted.map((one) => one.x), 0);
    const plot = new uPlot({
      width, height: 280, cursor: { drag: { x: false, y: false } }, hooks: { draw: [names] },
      scales: { x: { time: false, range: () => [0, far * 1.3 || 1] }, y: { range: (u, low, high) => [Math.max(low - 0.05, 0), Math.min(high + 0.05, 1)] } },
      series: [{ label: across.label, value: (u, value) => (value === null ? "-" : across.format(value)) },
        { label: up.label, stroke: tint("--accent"), width: 0, points: { show: true, size: 9, fill: tint("--accent") },
          value: (u, value) => (value === null ? "-" : up.format(value)) }],
      axes: [{ ...axis, label: across.label, values: (u, ticks) => ticks.map(across.format) },
        { ...axis, label: up.label, values: (u, ticks) => ticks.map(up.format) }],
    }, [sorted.map((one) => one.x), sorted.map((one) => one.y)], place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth || width, height: 280 })).observe(place);
  });
  return place;
}

// One row a step of `step` seconds from `since` on, those without a row as 0.
export function filled(rows, since, step, name, value) {
  const known = new Map(rows.map((row) => [name(row), value(row)]));
  const times = [];
  for (let at = Math.floor(since / step) * step; at <= Date.now() / 1000; at += step) times.push(at);
  return [times, times.map((at) => known.get(at) ?? 0)];
}
