// The edge, asked with the key that the reader gave. It stays in this tab.

const KEPT = "tollway-key";

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `status ${status}`);
    this.status = status;
    this.code = error?.code;
  }
}

export const key = () => sessionStorage.getItem(KEPT);
export const keep = (value) => sessionStorage.setItem(KEPT, value);
export const forget = () => sessionStorage.removeItem(KEPT);

export async function call(path, { method = "GET", query = {}, body, headers = {} } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined));
  const answer = await fetch(`${path}${asked.size ? `?${asked}` : ""}`, {
    method,
    headers: { authorization: `Bearer ${key()}`, ...(body ? { "content-type": "application/json" } : {}), ...headers },
    body: body && JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said.error);
  return { said, headers: answer.headers, status: answer.status };
}

export const get = async (path, query) => (await call(path, { query })).said;

export async function all(path, query) {
  const rows = [];
  let token = "";
  do {
    const page = await get(path, { ...query, page_token: token });
    rows.push(...page.data);
    token = page.next_page_token;
  } while (token);
  return rows;
}
