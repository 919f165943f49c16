/** Requests to the service: JSON in, JSON out, problems as exceptions. */
import { base } from "./base.js";
import { problemOf, unreachable } from "./problems.js";
import { forgetSession, session } from "./session.js";

/** @typedef {Record<string, string | number | boolean | string[] | undefined | null>} Query */
/** @typedef {{ loaded: number, total: number }} Sent */

/**
 * Return the address of a path of the API; each part of an id or name must be encoded by the caller.
 * @param {string} path  `v1/components`
 * @param {Query} [query]  undefined, null and "" are left out; lists repeat the name
 */
export function address(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "") continue;
    for (const each of Array.isArray(value) ? value : [value]) url.searchParams.append(name, String(each));
  }
  return url;
}

/** Read JSON. @param {string} path @param {Query} [query] @param {AbortSignal} [signal] @returns {Promise<any>} */
export function get(path, query, signal) {
  return send("GET", path, { query, signal });
}

/**
 * Send a request; return its JSON, or null without a body.
 * @param {string} method @param {string} path @param {Options} [options]
 * @returns {Promise<any>}
 * @throws {import("./problems.js").Problem}
 */
export async function send(method, path, options) {
  const { text } = await exchange(method, path, options);
  return text ? JSON.parse(text) : null;
}

/** @typedef {{ query?: Query, json?: any, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal }} Options */

/**
 * Send a request; return the answer's text as it was sent, and its headers.
 * @param {string} method @param {string} path @param {Options} [options]
 * @throws {import("./problems.js").Problem}
 */
export async function exchange(method, path, options = {}) {
  const headers = { ...headersOf(method), ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    body = JSON.stringify(options.json);
    headers["Content-Type"] = "application/json";
  }
  let answer, text;
  try {
    answer = await fetch(address(path, options.query), { method, headers, body, signal: options.signal });
    text = await answer.text();
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unreachable();
  }
  check(answer.status, text, answer.headers.get("Retry-After"));
  return { text, headers: answer.headers };
}

/**
 * Send a form with files; fetch cannot tell how much of a body was sent, so this is XMLHttpRequest.
 * @param {string} path @param {FormData} form
 * @param {{ onProgress?: (sent: Sent) => void, signal?: AbortSignal, headers?: Record<string, string> }} [options]
 * @returns {Promise<any>}
 */
export function upload(path, form, options = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    const headers = { ...headersOf("POST"), ...options.headers };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => options.onProgress?.({ loaded, total });
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("the upload was cancelled", "AbortError"));
    request.onload = () => {
      try {
        check(request.status, request.responseText, request.getResponseHeader("Retry-After"));
        resolve(request.responseText ? JSON.parse(request.responseText) : null);
      } catch (problem) {
        reject(problem);
      }
    };
    options.signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Return a key under which a creating request may be sent again and creates nothing twice. */
export function idempotencyKey() {
  return `page-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
}

/** @param {string} method @returns {Record<string, string>} */
function headersOf(method) {
  const token = session.value?.csrf_token;
  return token && method !== "GET" ? { "X-CSRF-Token": token } : {};
}

/** Throw the problem of an answer that is one. @param {number} status @param {string} text @param {string | null} retryAfter */
function check(status, text, retryAfter) {
  if (status >= 200 && status < 300) return;
  if (status === 401) forgetSession();
  throw problemOf(status, text, retryAfter);
}
