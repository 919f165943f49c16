/** A deletion: asked for in a dialog that names the thing, carried out, and told with its receipt. */
import { exchange } from "../api/client.js";
import { asProblem } from "../api/requests.js";
import { Ask } from "../parts/dialog.js";
import { typed } from "../parts/inputs.js";
import { NamedLink } from "../parts/names.js";
import { href } from "../router.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { outcomesOf, subjectOf } from "../receipts/words.js";

/** @typedef {{ receipt: any, unconfirmed: string }} Deleted */

/**
 * Carry out a deletion.
 * @param {string} method @param {string} path @param {import("../api/client.js").Options} [options]
 * @returns {Promise<Deleted>}
 */
export async function remove(method, path, options) {
  const { text, headers } = await exchange(method, path, options);
  return { receipt: JSON.parse(text), unconfirmed: headers.get("Unconfirmed-Processes") ?? "" };
}

/**
 * A button that opens the dialog.
 * @param {{ label: string, what: any, typed?: string, isReady?: boolean, children?: any,
 *   act: () => Promise<void>, onProblem?: (problem: import("../api/problems.js").Problem) => void }} props
 *   `typed`: what has to be typed first; `isReady`: whether all choices in `children` are made
 */
export function DeleteButton({ label, what, typed: name = "", isReady = true, children, act, onProblem }) {
  const [isOpen, setIsOpen] = useState(false);
  const [text, setText] = useState("");
  const perform = () => act().catch((error) => {
    onProblem?.(asProblem(error));
    throw error;
  });
  const close = () => {
    setText("");
    setIsOpen(false);
  };
  return html`
    <button class="danger" onClick=${() => setIsOpen(true)}>${label}</button>
    ${isOpen && html`
      <${Ask} title=${`${label}?`} action=${label} isDanger onClose=${close} perform=${perform} isDisabled=${!isReady || text.trim() !== name.trim()}>
        <p>${what}</p>
        ${children}
        ${name !== "" && html`<label><span>Type <strong class="typed">${name}</strong> to go on</span>
          <input value=${text} autocomplete="off" spellcheck=${false} onInput=${typed(setText)} /></label>`}
        <p class="quiet">It cannot be undone. The answer comes when no process of the service answers with it any more.</p>
      <//>`}`;
}

/** What was done, and where its proof is. @param {{ done: Deleted[] }} props */
export function Done({ done }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => place.current?.focus(), []);
  return html`
    <section tabindex="-1" ref=${place} aria-label="Result" class="done">
      <h1>Deleted</h1>
      <p>No answer that is given from now on was made with it.</p>
      <${Deletions} done=${done} />
      <p><a href=${href(["unlearn"])}>Find more</a></p>
    </section>`;
}

/** Each deletion with its receipt. @param {{ done: Deleted[] }} props */
export function Deletions({ done }) {
  return done.map(({ receipt, unconfirmed }) => html`
    <div class="panel" key=${receipt.id}>
      <p><strong>${subjectOf(receipt.body)}</strong></p>
      ${outcomesOf(receipt.body).map(({ id, says }) => html`<p>Component <${NamedLink} place="components" id=${id} />: ${says}.</p>`)}
      ${unconfirmed && html`<p class="notice">Some processes of the service did not confirm it: ${unconfirmed}. They were stopped or cut off, and can answer nothing before they know of the deletion.</p>`}
      <p><a class="button primary" href=${href(["receipts", receipt.id])}>Read and verify receipt ${String(receipt.number)}</a></p>
    </div>`);
}

/** What no deletion can cover, before there is a receipt that says it in full. */
export function NotCovered() {
  return html`
    <h2>What it does not cover</h2>
    <p>Files, images and answers that somebody got before; backups; and traces below the file system. A file from before and one from after
      the deletion tell together what was deleted. The receipt lists all of this.</p>`;
}
