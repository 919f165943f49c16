/** The place that the address names behind its hash: `#/components/cmp_1?tab=events`. */
import { signal } from "./ui.js";

/** @typedef {{ path: string[], query: URLSearchParams }} Place */

/** The place that is shown now. */
export const place = signal(read(location.hash));

addEventListener("hashchange", () => {
  place.value = read(location.hash);
});

/**
 * Return the address of a place, for `<a href>`.
 * @param {string[]} path
 * @param {Record<string, string | undefined>} [query]
 */
export function href(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(/** @type {[string, string][]} */ (given)).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/**
 * Show another place.
 * @param {string[]} path
 * @param {Record<string, string | undefined>} [query]
 */
export function go(path, query) {
  location.hash = href(path, query);
}

/**
 * Change the query of the place that is shown, without a step back in the history.
 * @param {Record<string, string | undefined>} changes  undefined takes a name away
 */
export function changeQuery(changes) {
  const query = { ...Object.fromEntries(place.value.query), ...changes };
  history.replaceState(null, "", href(place.value.path, query));
  place.value = read(location.hash);
}

/** @param {string} hash @returns {Place} */
function read(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(search) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
