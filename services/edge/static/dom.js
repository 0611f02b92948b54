// Elements from data: text is always text, never markup.

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

export function table(caption, columns, rows, empty = "Nothing yet.") {
  if (!rows.length) return el("p", { className: "note" }, empty);
  const head = columns.map((one) => el("th", { scope: "col", className: one.number ? "number" : "" }, one.title));
  const body = rows.map((row) =>
    el("tr", {}, columns.map((one) => el("td", { className: one.number ? "number" : "" }, one.cell(row)))));
  return el("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

export const card = (title, ...inner) => el("section", { className: "card" }, el("h2", {}, title), ...inner);

export const figure = (title, value, note = "") =>
  el("div", { className: "card" }, el("h3", {}, title), el("div", { className: "figure" }, value),
    el("div", { className: "note" }, note));

export const select = (label, name, options, value) =>
  el("label", {}, label, el("select", { name }, options.map(([key, text]) =>
    el("option", { value: key, selected: key === value }, text))));

export const input = (label, name, value = "", more = {}) =>
  el("label", {}, label, el("input", { name, value, ...more }));

export const usd = (value) =>
  value.toLocaleString("en", { style: "currency", currency: "USD", maximumFractionDigits: value < 1 ? 6 : 2 });
export const count = (value) => Math.round(value).toLocaleString("en");
export const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "-");
export const when = (seconds) => new Date(seconds * 1000).toLocaleString();
export const day = (text) => (text ? new Date(text).toLocaleString() : "");
export const ago = (hours) => new Date(Date.now() - hours * 3600e3).toISOString().slice(0, 19);
export const seconds = (text) => Number((text ?? "0s").replace("s", ""));
