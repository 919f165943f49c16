/** Problems: what went wrong, in the service's own words, and what a person can do about it. */

/** A request that failed: a problem document of the service, or no answer at all. */
export class Problem extends Error {
  /**
   * @param {number} status  0 without an answer
   * @param {string} code
   * @param {string} detail
   * @param {Record<string, any>} [document]  the whole document, with the problem's own fields
   * @param {number | null} [retryAfter]  seconds
   */
  constructor(status, code, detail, document = {}, retryAfter = null) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.document = document;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status === 503;
  }
}

/** What a person can do, by code, where the service's sentence does not say it already. */
const REMEDIES = {
  unreachable: "Look whether the service runs. This page goes on as soon as it answers.",
  unauthorized: "Sign in with a key of this service.",
  component_deleted: "Someone has deleted it while you looked. Its receipt tells what was removed.",
  disk_full: "Delete what is not needed any more, or give the data folder more room.",
  selection_changing: "A deletion is under way: the answer will be ready in a moment.",
  space_retraining: "Components are being trained again. What is ready answers meanwhile.",
};

/** @param {Problem} problem @returns {string} */
export function remedyOf(problem) {
  const known = /** @type {Record<string, string>} */ (REMEDIES)[problem.code];
  if (known) return known;
  if (problem.retryAfter !== null) return `Try again in ${problem.retryAfter} s.`;
  return problem.isTemporary ? "Try again in a moment." : "";
}

/**
 * Return the problem of a response that is an error.
 * @param {number} status @param {string} text @param {string | null} retryAfter
 */
export function problemOf(status, text, retryAfter) {
  const seconds = retryAfter === null || Number.isNaN(Number(retryAfter)) ? null : Number(retryAfter);
  try {
    const document = JSON.parse(text);
    return new Problem(status, String(document.code), String(document.detail ?? document.title), document, seconds);
  } catch {
    return new Problem(status, `http_${status}`, `the answer has status ${status}`, {}, seconds);
  }
}

/** Return the problem of a request that got no answer. */
export function unreachable() {
  return new Problem(0, "unreachable", "the service does not answer");
}
