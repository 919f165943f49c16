/** One receipt: verified in the browser, in words, as JSON, and as a file to keep. */
import { send } from "../api/client.js";
import { asProblem } from "../api/requests.js";
import { Problem } from "../api/problems.js";
import { Fault, Loading } from "../parts/states.js";
import { moment } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useCallback, useEffect, useState } from "../ui.js";
import { canonical } from "./canonical.js";
import { load, saveText } from "./material.js";
import { saved } from "./proofs.js";
import { Recognition } from "./recognition.js";
import { Verification } from "./steps.js";
import { explained, subjectOf } from "./words.js";

/** @param {{ id: string }} props */
export function Receipt({ id }) {
  const [loaded, setLoaded] = useState(/** @type {{ id: string, material: import("./proofs.js").Material } | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const read = useCallback(() => {
    setProblem(null);
    load(id).then((material) => setLoaded({ id, material }), (error) => setProblem(problemOf(error)));
  }, [id]);
  useEffect(read, [read]);
  if (problem) return html`<${Fault} problem=${problem} again=${read} />`;
  if (loaded?.id !== id) return html`<${Loading} text="Loading the receipt and its proofs …" />`;
  return html`<${Material} material=${loaded.material} /><${ServiceCheck} id=${id} />`;
}

/** A text of the service that cannot be read is a fault of the ledger. @param {any} error */
function problemOf(error) {
  return error instanceof Problem ? error : new Problem(0, "receipt_unreadable", `the receipt or its proofs cannot be used: ${error.message}`);
}

/** A receipt and its proofs, loaded or from a file. @param {{ material: import("./proofs.js").Material, isFile?: boolean }} props */
export function Material({ material, isFile = false }) {
  const { receipt } = material;
  const shown = JSON.parse(canonical(receipt));
  const name = `${String(receipt.get("id")).replaceAll(/[^\w-]/g, "_")}.json`;
  return html`
    <h1>Receipt ${String(shown.number)}</h1>
    <p class="lead">${subjectOf(shown.body)}</p>
    <p class="quiet">${moment(shown.created_at)} · <code>${shown.id}</code></p>
    <${Verification} material=${material} isFile=${isFile} />
    <h2>What it says</h2>
    <dl class="facts wide">
      ${explained(shown.body).map(({ title, says }) => html`<dt>${title}</dt><dd>${says.length === 1 ? says[0] : html`<ul>${says.map((each) => html`<li>${each}</li>`)}</ul>`}</dd>`)}
      <dt>Place</dt><dd>It is number ${String(shown.number)} of the ledger, and follows the receipt with the hash <code>${shown.previous_hash}</code>. Its own hash is <code>${shown.hash}</code>.</dd>
      <dt>Signature</dt><dd>${shown.key_id ? html`The key <code>${shown.key_id}</code> signed it.` : "It is not signed."}</dd>
    </dl>
    <${Recognition} body=${shown.body} />
    <h2>Keep it</h2>
    ${!isFile && html`<p><button onClick=${() => saveText(name, saved(material))}>Save with all that verifies it</button></p>`}
    <p>One file has the receipt, its proof, the checkpoint and the public key. <a href=${href(["receipts", "verify"])}>This page verifies it</a> later, and so does a shell, both without the service:</p>
    <pre tabindex="0"><code>tangent verify-receipts ${name}${material.keys.length && shown.key_id ? ` --fingerprint ${shown.key_id}` : ""}</code></pre>
    <details><summary>JSON</summary><pre tabindex="0"><code>${canonical(receipt, "\n")}</code></pre></details>`;
}

const CHECKS = {
  chain_ok: "Every receipt follows from the one before it", tree_ok: "The stored Merkle tree is that of the receipts",
  signature_ok: "The receipt's key signed it", manifest_ok: "The components that remained are still those",
  files_ok: "Their files have the hashes in their rows", probe_ok: "They answer the probe as they did",
};
const ANSWERS = { true: ["good", "✓ holds"], false: ["bad", "✗ does not hold"], null: ["warn", "– cannot be known"] };

/** The service's own look at its rows, files and answers, which no browser can replace. @param {{ id: string }} props */
function ServiceCheck({ id }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  const ask = async () => {
    setFound("asked");
    setFound(await send("POST", `v1/receipts/${encodeURIComponent(id)}/verify`).catch(asProblem));
  };
  return html`
    <h2>Let the service look</h2>
    <p>Whether anything of the deleted is left in its rows and files, only the service can see. This is its word, and no proof.</p>
    <button onClick=${ask} disabled=${found === "asked"}>Look for what is left</button>
    <div aria-live="polite">
      ${found === "asked" && html`<${Loading} text="The service looks …" />`}
      ${found instanceof Problem && html`<${Fault} problem=${found} again=${ask} />`}
      ${found?.receipt_id && html`
        <p><strong>${found.residue.length ? "Something is left." : "Nothing is left."}</strong> ${found.residue.map((/** @type {any} */ each) => `${each.count} × ${each.kind}`).join(", ")}</p>
        <ul class="plain">${Object.entries(CHECKS).map(([name, says]) => {
          const [tone, answer] = ANSWERS[/** @type {"true"} */ (String(found[name]))];
          return html`<li>${says} <span class=${`tag ${tone}`}>${answer}</span></li>`;
        })}</ul>`}
    </div>`;
}
