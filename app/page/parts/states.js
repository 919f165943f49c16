/** States of a view that has nothing to show: loading, empty, or a problem with its remedy. */
import { remedyOf } from "../api/problems.js";
import { html } from "../ui.js";

/** @param {{ text?: string }} props */
export function Loading({ text = "Loading …" }) {
  return html`<p class="loading" role="status">${text}</p>`;
}

/**
 * A problem in the service's words, what to do about it, and a way to try again.
 * @param {{ problem: import("../api/problems.js").Problem, again?: () => void }} props
 */
export function Fault({ problem, again }) {
  const errors = Array.isArray(problem.document.errors) ? problem.document.errors.slice(0, 5) : [];
  const receipt = problem.document.receipt_id;
  return html`
    <div class="fault" role="alert">
      <p><strong>${sentence(problem.message)}</strong></p>
      ${errors.length > 0 && html`<ul>${errors.map((/** @type {any} */ each) => html`<li>${each.pointer ?? each.path ?? ""} ${each.detail ?? each.message ?? ""}</li>`)}</ul>`}
      ${remedyOf(problem) && html`<p>${remedyOf(problem)}</p>`}
      ${typeof receipt === "string" && html`<p><a href=${`#/receipts/${encodeURIComponent(receipt)}`}>Read its receipt</a></p>`}
      <p class="quiet">${problem.code}${problem.status ? ` · status ${problem.status}` : ""}
        ${problem.document.request_id ? html` · request <code>${problem.document.request_id}</code>` : ""}</p>
      ${again && html`<button onClick=${again}>Try again</button>`}
    </div>`;
}

/** Nothing is there yet, and what to do. @param {{ children?: any }} props */
export function Empty({ children }) {
  return html`<div class="empty">${children}</div>`;
}

/** @param {string} text */
function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
