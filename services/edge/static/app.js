// Which view is shown, to whom, and when it is drawn anew.

import { Refused, forget, get, keep, key } from "./api.js";
import { card, el, input } from "./dom.js";
import { begin, finished, offered } from "./signin.js";
import * as budgets from "./views/budgets.js";
import * as cost from "./views/cost.js";
import * as documents from "./views/documents.js";
import * as jobs from "./views/jobs.js";
import * as overview from "./views/overview.js";
import * as playground from "./views/playground.js";
import * as prompts from "./views/prompts.js";
import * as quality from "./views/quality.js";
import * as requests from "./views/requests.js";
import * as reviews from "./views/reviews.js";
import * as safety from "./views/safety.js";
import * as savings from "./views/savings.js";

const VIEWS = { overview, cost, savings, budgets, requests, documents, prompts, quality, safety, reviews, jobs, playground };
const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
let caller = null;
let timer = 0;
let turn = 0;

function place() {
  const [name, query] = location.hash.slice(1).split("?");
  return { name: name in VIEWS ? name : "overview", asked: Object.fromEntries(new URLSearchParams(query)) };
}

function go(asked) {
  const { name } = place();
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "" && value !== undefined));
  const next = `#${name}${query.size ? `?${query}` : ""}`;
  if (next === location.hash) draw();
  else location.hash = next;
}

function confirm(title, body) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-body").replaceChildren(body);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

function say(message) {
  trouble.textContent = message;
  trouble.hidden = !message;
}

async function draw({ quiet = false } = {}) {
  clearTimeout(timer);
  const mine = (turn += 1);
  const { name, asked } = place();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} - Tollway`;
  try {
    if (!key()) return await door();
    document.getElementById("leave").hidden = false;
    caller ??= await get("/tollway/v1/caller");
    document.getElementById("who").textContent = `${caller.account}${caller.admin ? ", administrator" : ""}`;
    const made = await VIEWS[name].show(asked, go, { caller, confirm });
    if (mine !== turn) return; // another view was asked for meanwhile
    const held = quiet && main.contains(document.activeElement) && document.activeElement !== main;
    if (!held) main.replaceChildren(...made);
    main.dataset.view = name;
    say("");
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Refused && error.status === 401) {
      leave();
      say(error.message);
      return;
    }
    say(error.message);
  }
  if (VIEWS[name].every) timer = setTimeout(() => draw({ quiet: true }), 1000 * VIEWS[name].every);
}

async function door() {
  const offer = await offered();
  const form = el("form", { className: "row", onsubmit: (event) => {
    event.preventDefault();
    keep(new FormData(form).get("key").trim());
    draw();
  } }, input("API key", "key", "", { type: "password", required: true, autocomplete: "off", size: 50 }),
  el("button", { className: "strong" }, "Sign in"));
  const company = offer.offered
    ? [el("p", { className: "row" }, el("button", { className: "strong", type: "button", onclick: () => begin(offer) },
      `Sign in with ${offer.name}`))]
    : [];
  main.replaceChildren(card("Sign in", ...company, el("p", { className: "note" },
    "An administrator's key shows and changes everything, any other shows its own account. It stays in this tab."), form));
  main.dataset.view = "door";
}

function leave() {
  forget();
  caller = null;
  document.getElementById("who").textContent = "";
  document.getElementById("leave").hidden = true;
  door();
}

document.getElementById("leave").addEventListener("click", leave);
addEventListener("hashchange", () => draw().then(() => main.focus()));
addEventListener("unhandledrejection", (event) => say(event.reason?.message ?? "something broke"));
try {
  const token = await finished();
  if (token) keep(token);
} catch (error) {
  say(error.message);
}
draw();
