/** Whether a receipt is about something that the reader has: hashes of it, salted as the receipt says. */
import { FileDrop } from "../parts/file_drop.js";
import { submitted, typed } from "../parts/inputs.js";
import { html, useCallback, useState } from "../ui.js";
import { hex, sha256, Unavailable, utf8 } from "./bytes.js";

/** @param {{ body: any }} props */
export function Recognition({ body }) {
  const [says, setSays] = useState("");
  const [label, setLabel] = useState("");
  /** @param {string} name @param {Promise<string>} content */
  const compare = (name, content) => found(body, name, content).then(setSays);
  const onFile = useCallback((/** @type {File} */ file) => {
    compare(file.name, file.arrayBuffer().then(sha256).then(hex));
  }, [body]);
  if (typeof body?.salt !== "string") return null;
  return html`
    <details><summary>Is it about my data?</summary>
      <p>The receipt has your data only as salted hashes. Give what you have: it stays in this browser.</p>
      <div class="split">
        <${FileDrop} label="Image or archive" accept="" hint="The file as it was uploaded." isPasted=${false} onFile=${onFile} />
        <form onSubmit=${submitted(() => compare(`The label ${label}`, Promise.resolve(label)))}>
          <label>Label <input value=${label} onInput=${typed(setLabel)} /></label>
          <button>Look for it</button>
        </form>
      </div>
      <p aria-live="polite"><strong>${says}</strong></p>
    </details>`;
}

/** @param {any} body @param {string} name @param {Promise<string>} content */
async function found(body, name, content) {
  try {
    const salted = hex(await sha256(utf8(`${body.salt}:${await content}`)));
    const labels = (Array.isArray(body.labels) ? body.labels : []).flatMap((/** @type {any} */ each) => each?.salted_sha256 ?? []);
    const held = [body.salted_archive_sha256, ...(body.salted_image_sha256 ?? []), ...labels];
    return held.includes(salted) ? `${name} is in this receipt: it was deleted or changed.` : `${name} is not in this receipt.`;
  } catch (error) {
    return error instanceof Unavailable ? error.message : `${name} cannot be read.`;
  }
}
