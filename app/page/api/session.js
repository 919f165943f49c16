/** Who uses the page: nobody needs a key on a service without keys; elsewhere a cookie stands for one. */
import { signal } from "../ui.js";
import { base } from "./base.js";
import { Problem, problemOf, unreachable } from "./problems.js";

/**
 * @typedef {{ required: boolean, authenticated: boolean, csrf_token?: string | null,
 *   key?: { id: string, name: string, scopes: string[] } | null, expires_at?: string | null }} Session
 */

/** The session as the service told it last; null before it has. @type {import("../vendor/signals.js").Signal<Session | null>} */
export const session = signal(/** @type {Session | null} */ (null));

/** Whether a key is needed and none was given. */
export function needsKey() {
  const now = session.value;
  return now !== null && now.required && !now.authenticated;
}

/** Ask the service who we are. */
export async function readSession() {
  session.value = await asked("GET");
}

/** Give a key for a session. @param {string} key */
export async function signIn(key) {
  session.value = await asked("POST", JSON.stringify({ key }));
}

/** End the session. */
export async function signOut() {
  await asked("DELETE");
  await readSession();
}

/** The next request was refused for want of a key: show the form again. */
export function forgetSession() {
  if (session.value?.authenticated) session.value = { ...session.value, authenticated: false, csrf_token: null };
}

/** @param {string} method @param {string} [body] @returns {Promise<any>} */
async function asked(method, body) {
  /** @type {Record<string, string>} */
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (session.value?.csrf_token) headers["X-CSRF-Token"] = session.value.csrf_token;
  let answer;
  try {
    answer = await fetch(new URL("session", base), { method, headers, body });
  } catch {
    throw unreachable();
  }
  if (answer.status === 204) return null;
  const text = await answer.text();
  if (!answer.ok) throw problemOf(answer.status, text, answer.headers.get("Retry-After"));
  return JSON.parse(text);
}

export { Problem };
