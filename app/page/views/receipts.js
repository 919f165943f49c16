/** Receipts: the ledger, one receipt, and a saved file verified. */
import { Fault } from "../parts/states.js";
import { FileDrop } from "../parts/file_drop.js";
import { Problem } from "../api/problems.js";
import { readText } from "../receipts/material.js";
import { Ledger } from "../receipts/ledger.js";
import { readSaved } from "../receipts/proofs.js";
import { Material, Receipt } from "../receipts/receipt.js";
import { html, useCallback, useState } from "../ui.js";

/** @param {{ path: string[] }} props */
export function View({ path: [place] }) {
  if (place === undefined) return html`<${Ledger} />`;
  return place === "verify" ? html`<${SavedFile} />` : html`<${Receipt} id=${place} />`;
}

function SavedFile() {
  const [material, setMaterial] = useState(/** @type {import("../receipts/proofs.js").Material | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const onFile = useCallback(async (/** @type {File} */ file) => {
    setMaterial(null);
    try {
      setMaterial(readSaved(await readText(file)));
      setProblem(null);
    } catch (error) {
      setProblem(new Problem(0, "not_a_receipt", `this file cannot be verified: ${/** @type {Error} */ (error).message}`));
    }
  }, []);
  return html`
    ${!material && html`<h1>Verify a saved file</h1>`}
    <${FileDrop} label="A saved receipt" accept=".json,application/json" onFile=${onFile}
      hint="Drop it here. It is read by this page alone: nothing is sent, and the service need not run." />
    ${problem && html`<${Fault} problem=${problem} />`}
    ${material && html`<${Material} material=${material} isFile />`}`;
}
