// The way to the service: one key, one kind of error.

import { byId } from "./dom.js";

const LONGEST = 30000; // milliseconds
const STORED = "tastemaker-key";
let secret = null;
let asking = null;

function stored() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

function store(value) {
  try {
    if (value === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, value);
  } catch {
    // the key is kept in memory alone
  }
}

// A refusal, or no answer at all (status 0).
export class Problem extends Error {
  constructor(status, detail, { requestId = null, errors = [], retryAfter = null } = {}) {
    super(detail);
    Object.assign(this, { status, requestId, errors, retryAfter });
  }
}

const current = () => secret ?? stored();

async function once(key, method, path, body, { signal, accept } = {}) {
  const headers = { Accept: accept ?? "application/json" };
  const late = AbortSignal.timeout(LONGEST);
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, late.aborted ? "The service did not answer in time." : "The service cannot be reached.");
  }
  const text = await response.text();
  if (response.ok) {
    if (accept) return text;
    try {
      return text ? JSON.parse(text) : null;
    } catch {
      throw new Problem(0, "The answer of the service cannot be read.");
    }
  }
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    // not one of the service's own bodies
  }
  throw new Problem(response.status, told.detail ?? `The service answered with status ${response.status}.`, {
    requestId: told.request_id ?? null,
    errors: told.errors ?? [],
    retryAfter: Number(response.headers.get("Retry-After")) || null,
  });
}

// Ask the service; where it wants a key, the person is asked for one, and the question is put again.
export async function ask(method, path, body, options) {
  for (;;) {
    const key = current();
    try {
      return await once(key, method, path, body, options);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error;
      if (current() === key) await signIn(key ? error.message : ""); // else another one was given meanwhile
    }
  }
}

export const pathOf = (id) => encodeURIComponent(id);

function signIn(problem) {
  secret = null;
  store(null);
  asking ??= new Promise((resolve) => {
    const dialog = byId("sign-in");
    const field = byId("key");
    byId("key-problem").textContent = problem;
    field.value = "";
    dialog.oncancel = (event) => event.preventDefault();
    dialog.querySelector("form").onsubmit = () => {
      secret = field.value.trim();
      if (byId("keep-key").checked) store(secret);
      field.value = "";
      byId("sign-out").hidden = false;
      asking = null;
      resolve();
    };
    dialog.showModal();
    field.focus();
  });
  return asking;
}

const out = byId("sign-out");
out.hidden = !stored();
out.addEventListener("click", () => {
  secret = null;
  store(null);
  location.reload();
});

export async function showModel() {
  const told = await ask("GET", "/version");
  byId("model").textContent = told.model_version ?? "no model";
  return told;
}
