// Signing in at the company's own issuer: OpenID Connect's code flow with PKCE. The verifier never leaves this tab.

const PENDING = "tollway-sign-in";

const here = () => new URL("/console/", location).href;
const base64 = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));

export async function offered() {
  const answer = await fetch("/console/sign-in");
  return answer.ok ? answer.json() : { offered: false };
}

export async function begin(offer) {
  const pending = { state: random(), nonce: random(), verifier: random(), view: location.hash };
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
  const to = new URL(offer.authorization_endpoint);
  for (const [name, value] of Object.entries({
    response_type: "code", client_id: offer.client_id, redirect_uri: here(), scope: offer.scope, state: pending.state,
    nonce: pending.nonce, code_challenge: base64(new Uint8Array(digest)), code_challenge_method: "S256",
  })) to.searchParams.set(name, value);
  location.assign(to);
}

// The token of who has just come back; null when nobody has.
export async function finished() {
  const said = new URLSearchParams(location.search);
  if (!said.has("state")) return null;
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "{}");
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", `${here()}${pending.view ?? ""}`);
  if (said.get("state") !== pending.state) throw new Error("this sign-in was not begun in this tab");
  if (said.has("error")) throw new Error(`the issuer refuses the sign-in: ${said.get("error_description") ?? said.get("error")}`);
  const answer = await fetch("/console/sign-in", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code: said.get("code"), code_verifier: pending.verifier, redirect_uri: here() }),
  });
  const made = await answer.json();
  if (!answer.ok) throw new Error(made.error.message);
  const claims = made.id_token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
  if (JSON.parse(atob(claims)).nonce !== pending.nonce) throw new Error("the issuer answered another sign-in than ours");
  return made.id_token;
}
