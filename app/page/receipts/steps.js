/** The outcome of a verification: the verdict, the key, and each step with its hashes. */
import { forget, remember, remembered, standing, trust } from "./keys.js";
import { moment } from "../parts/texts.js";
import { html, useEffect, useState } from "../ui.js";
import { verify } from "./verification.js";

const MARKS = { passed: ["good", "✓ passed"], failed: ["bad", "✗ failed"], "not run": ["warn", "– not run"] };

/**
 * Verify the material in this browser, and show how.
 * @param {{ material: import("./proofs.js").Material, isFile?: boolean }} props
 */
export function Verification({ material, isFile = false }) {
  const [found, setFound] = useState(/** @type {import("./verification.js").Verification | null} */ (null));
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isShown = true;
    setFound(null);
    verify(material, isFile ? null : remembered().tree ?? null).then((made) => {
      if (!isShown) return;
      if (!isFile) rememberTree(made);
      setFound(made);
    });
    return () => { isShown = false; };
  }, [material, turn]);
  return html`
    <section>
      <h2>Checked in this browser</h2>
      ${found === null ? html`<p class="loading" role="status">Checking …</p>` : html`<${Outcome} found=${found} isFile=${isFile} onForget=${() => { forget(); setTurn(turn + 1); }} />`}
      <button onClick=${() => setTurn(turn + 1)}>Check again</button>
      <p class="quiet">These checks ask the service nothing: they hold after it was stopped.</p>
    </section>`;
}

/** Note the ledger's size and root, unless something is wrong with it. @param {import("./verification.js").Verification} found */
function rememberTree({ verdict, tree }) {
  if (verdict === "verified" && tree) remember({ tree: { ...tree, at: new Date().toISOString() } });
}

/** @param {{ found: import("./verification.js").Verification, isFile: boolean, onForget: () => void }} props */
function Outcome({ found, isFile, onForget }) {
  const [, redraw] = useState(0);
  const key = found.key && found.verdict === "verified" ? { id: found.key.id, ...standing(found.key.id, !isFile) } : null;
  const failed = found.steps.filter(({ state }) => state === "failed");
  const missing = found.steps.filter(({ state }) => state === "not run").length;
  return html`
    ${found.verdict === "refused" && html`<div class="fault" role="alert"><p><strong>Refused: do not rely on this receipt.</strong></p>${failed.map(({ says }) => html`<p>${says}</p>`)}
      ${failed.some(({ name }) => name === "Growth") && html`<p>If you know why, as after a backup was restored: <button onClick=${onForget}>Forget what this browser saw before</button></p>`}</div>`}
    ${found.verdict === "incomplete" && html`<p class="notice" role="status"><strong>${found.isSigned ? "Not verified." : "Not signed."}</strong> ${found.isSigned
      ? `Nothing is wrong in what was checked, but ${missing} checks did not run. They say why. The command below makes them in a shell.`
      : "What was checked below holds, but whoever can write the ledger could have written another one. A service that is started with TANGENT_RECEIPT_KEY_FILE signs its receipts."}</p>`}
    ${found.verdict === "verified" && html`<p role="status" class=${key?.state === "changed" ? "notice" : "seal"}><strong>${key?.state === "changed" ? "Sound, but by an unknown key." : "Verified."}</strong> The receipt is as it was written, and the signed ledger holds it.${key && key.state !== "compared" ? " All of this rests on the key." : ""}</p>`}
    ${key && html`<${KeyStanding} key_=${key} onTrust=${() => { trust(key.id); redraw((old) => old + 1); }} />`}
    <ol class="steps">
      ${found.steps.map((step) => html`
        <li key=${step.name}>
          <h3>${step.name} <span class=${`tag ${MARKS[step.state][0]}`}>${MARKS[step.state][1]}</span></h3>
          <p>${step.says}</p>
          ${step.computed && html`<dl class="facts"><dt>${step.expected ? "computed" : "value"}</dt><dd><code>${step.computed}</code></dd>
            ${step.expected && html`<dt>expected</dt><dd><code>${step.expected}</code></dd>`}</dl>`}
        </li>`)}
    </ol>`;
}

/** @param {{ key_: { id: string } & import("./keys.js").Standing, onTrust: () => void }} props */
function KeyStanding({ key_, onTrust }) {
  const says = {
    first: "This browser sees the key for the first time, and can only take it on trust: compare its fingerprint with one that you have from elsewhere.",
    seen: `This browser saw the same key first on ${moment(key_.since)}. Nobody has compared its fingerprint yet.`,
    compared: `You compared this key on ${moment(key_.since)}, and it is the same.`,
    changed: `Alarm: this is another key than the one that this browser knows for this service since ${moment(key_.since)}. Somebody may have written another ledger, or the service was given a new key, or the file is of another service. Ask whoever runs the service, on another way than this page.`,
  };
  return html`
    <div class=${key_.state === "changed" ? "fault" : "panel"} role=${key_.state === "changed" ? "alert" : undefined}>
      <p>${says[key_.state]}</p>
      <p>Fingerprint: <code>${key_.id.match(/.{1,8}/g)?.join(" ")}</code></p>
      ${key_.state !== "compared" && html`<button onClick=${onTrust}>I have compared it: trust this key</button>`}
    </div>`;
}

