// Templates, configurations and datasets: which version answers, what it says, a new one, and a label that moves after a look
// at what changes.

import { all, call, get } from "../api.js";
import { card, day, el, input, table } from "../dom.js";

const link = (text, onclick) => el("button", { type: "button", className: "link", onclick }, text);

export async function show(asked, go, { confirm }) {
  const artifacts = await all("/tollway/v1/artifacts", { limit: 1000 });
  const list = card("Prompts and models", table("Artifacts of the tenant", [
    { title: "Name", cell: (one) => link(one.name, () => go({ name: one.name })) },
    { title: "Kind", cell: (one) => one.kind },
    { title: "Newest", number: true, cell: (one) => one.newest },
    { title: "Labels", cell: (one) => one.labels.map(standing).join(", ") }],
  artifacts, "Nothing is kept yet: `tollway registry apply FOLDER` keeps a folder of files."));
  const chosen = artifacts.find((one) => one.name === asked.name);
  const shown = chosen ? await artifact(chosen, asked, go, confirm) : [];
  return [list, ...shown, card("Who changed what", await log())];
}

const standing = (label) =>
  `${label.label} ${label.number}${label.candidate ? ` + ${label.candidate} at ${Math.round(100 * label.share)} %` : ""}`;

async function artifact(one, asked, go, confirm) {
  const number = Number(asked.version ?? one.newest);
  const version = await get(`/tollway/v1/artifacts/${one.name}@${number}`);
  const numbers = Array.from({ length: one.newest }, (_, n) => one.newest - n).slice(0, 30);
  const text = el("textarea", { name: "content", rows: 18, spellcheck: false, ariaLabel: "Content as JSON",
    value: JSON.stringify(version.content, null, 2) });
  const editor = el("form", { className: "stack", onsubmit: async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(editor));
    const made = (await call(`/tollway/v1/artifacts/${one.name}`, { method: "POST",
      body: { content: JSON.parse(said.content), why: said.why, owner: version.owner } })).said;
    go({ name: one.name, version: made.number });
  } }, text, el("div", { className: "row" }, input("Why", "why", ""), el("button", { className: "strong" }, "Propose")));
  const labels = one.labels.length ? one.labels : [{ name: one.name, label: "production", number: 0, revision: 0 }];
  return [
    card(`${one.name}@${number}`,
      el("p", { className: "note" }, `${version.digest.slice(0, 19)} by ${version.author}, ${day(version.created)}. ${version.why}`),
      el("p", {}, "Versions: ", numbers.flatMap((each) => [each === number ? el("strong", {}, String(each))
        : link(String(each), () => go({ name: one.name, version: each })), " "])),
      ...version.reviews.map((each) =>
        el("p", {}, `${each.approved ? "approved" : "rejected"} by ${each.reviewer}. ${each.note}`)),
      el("p", {}, labels.flatMap((label) => [el("button", { type: "button", disabled: label.number === number && !label.candidate,
        onclick: () => move(label, number, go, confirm) }, `Move ${label.label} to ${number}`), " "])),
      editor),
  ];
}

async function move(label, number, go, confirm) {
  const query = { from: `${label.name}@${label.number}`, to: `${label.name}@${number}` };
  const { diff } = label.number ? await get("/tollway/v1/diff", query) : { diff: "" };
  const body = el("pre", { tabIndex: 0 }, diff || "Nothing stood there before, or both say the same.");
  if (!(await confirm(`Move ${label.label} of ${label.name} to version ${number}?`, body))) return;
  await call("/tollway/v1/labels", { method: "PUT",
    body: { name: label.name, label: label.label, number, revision: label.revision, why: "from the console" } });
  go({ name: label.name, version: number, at: Date.now() });
}

async function log() {
  const entries = (await all("/tollway/v1/audit", { limit: 1000 })).slice(-50).reverse().map((one) => JSON.parse(one.json));
  return table("The newest entries of the audit log", [
    { title: "When", cell: (one) => day(one.at) }, { title: "Who", cell: (one) => one.actor },
    { title: "Did", cell: (one) => one.action }, { title: "To", cell: (one) => one.target },
    { title: "Why", cell: (one) => one.after?.why ?? "" }],
  entries, "Nobody has changed anything.");
}
