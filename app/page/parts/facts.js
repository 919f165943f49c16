/** Facts of one thing: terms with their values, states as tags, counts as bars. */
import { html } from "../ui.js";

/** A stranger's text, which may run from right to left. @param {{ text: string | null | undefined }} props */
export function Name({ text }) {
  return html`<bdi title=${text ?? ""}>${text}</bdi>`;
}

/** Terms and values; what has no value is left out. @param {{ rows: [string, any][] }} props */
export function Facts({ rows }) {
  const told = rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return html`<dl class="facts">${told.map(([term, value]) => html`<dt>${term}</dt><dd>${value}</dd>`)}</dl>`;
}

/** The user's own notes as facts. @param {Record<string, string>} metadata @returns {[string, any][]} */
export function noted(metadata) {
  return Object.entries(metadata).map(([key, value]) => [key, html`<${Name} text=${value} />`]);
}

/** @type {Record<string, string>} */
const KINDS = {
  ready: "good", failed: "bad", unavailable: "bad", damaged: "bad", queued: "busy", training: "busy", running: "busy",
  retraining: "warn", invalidated: "warn",
};

/** @param {{ status: string }} props */
export function Tag({ status }) {
  return html`<span class=${`tag ${KINDS[status] ?? "quiet"}`}>${status.replaceAll("_", " ")}</span>`;
}

const MOST = 12; // bars shown at once

/**
 * Counts by name as bars, the first of them at once.
 * @param {{ counts: Record<string, number>, hrefOf?: (name: string) => string }} props
 */
export function Counts({ counts, hrefOf }) {
  const all = Object.entries(counts);
  const most = Math.max(1, ...all.map(([, count]) => count));
  /** @param {[string, number]} entry */
  const bar = ([name, count]) => html`
    <li>
      <span class="cut">${hrefOf ? html`<a href=${hrefOf(name)}><${Name} text=${name} /></a>` : html`<${Name} text=${name} />`}</span>
      <span class="number">${count.toLocaleString("en")}</span>
      <span class="gauge" aria-hidden="true"><span style=${{ width: `${(100 * count) / most}%` }}></span></span>
    </li>`;
  return html`
    <ul class="counts">${all.slice(0, MOST).map(bar)}</ul>
    ${all.length > MOST && html`
      <details><summary>${(all.length - MOST).toLocaleString("en")} more</summary><ul class="counts">${all.slice(MOST).map(bar)}</ul></details>`}`;
}
