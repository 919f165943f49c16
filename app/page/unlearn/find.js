/** Find my data: everything that holds an image, exactly or nearly. */
import { get, upload } from "../api/client.js";
import { asProblem } from "../api/requests.js";
import { FileDrop } from "../parts/file_drop.js";
import { submitted, typed } from "../parts/inputs.js";
import { NamedLink, NamedLinks } from "../parts/names.js";
import { Fault, Loading } from "../parts/states.js";
import { counted } from "../parts/texts.js";
import { hex, sha256 } from "../receipts/bytes.js";
import { href } from "../router.js";
import { batch, html, signal, useCallback, useEffect, useMemo, useState } from "../ui.js";
import { Choice, ChosenBar, toggled } from "./images.js";

/** @typedef {{ file: File, distance: number } | { sha256: string }} Asked */

/** @type {import("../ui.js").Signal<Asked | null>} */
const asked = signal(/** @type {Asked | null} */ (null));
/** What the service has found. @type {import("../ui.js").Signal<any>} */
const found = signal(/** @type {any} */ (null));
/** @type {import("../ui.js").Signal<import("../api/problems.js").Problem | null>} */
const problem = signal(/** @type {import("../api/problems.js").Problem | null} */ (null));
/** The hash that this browser has computed, or why it cannot. */
const local = signal({ sha256: "", says: "" });

/** Search, and forget what was found before. @param {Asked} now */
async function search(now) {
  batch(() => {
    if (asked.value !== now) found.value = null;
    [asked.value, problem.value, local.value] = [now, null, { sha256: "", says: "" }];
  });
  if ("file" in now) {
    hashed(now.file).then((value) => {
      if (asked.value === now) local.value = value;
    });
  }
  try {
    const answer = "file" in now ? await byLooks(now.file, now.distance) : await byHash(now.sha256);
    if (asked.value === now) found.value = answer;
  } catch (error) {
    if (asked.value === now) problem.value = asProblem(error);
  }
}

/** @param {File} file @returns {Promise<{ sha256: string, says: string }>} */
async function hashed(file) {
  try {
    return { sha256: hex(await sha256(await file.arrayBuffer())), says: "" };
  } catch (error) {
    return { sha256: "", says: `This browser did not compute the file's hash: ${/** @type {Error} */ (error).message}` };
  }
}

/** @param {File} file @param {number} distance */
function byLooks(file, distance) {
  const form = new FormData();
  form.append("image", file);
  return upload(`v1/images/search?distance=${distance}`, form);
}

/** @param {string} hash */
async function byHash(hash) {
  const page = await get("v1/images", { sha256: hash, limit: 100 });
  return { sha256: hash, exact: page.data, near: [], has_more: page.has_more, not_compared: 0 };
}

const MAX_PAGES = 10;

/** Return the imported components, which do not say what they were trained from, and whether all were looked at. */
async function importedComponents() {
  const imported = [];
  let next;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = /** @type {any} */ (await get("v1/components", { status: "ready", limit: 100, after: next }));
    imported.push(...page.data.filter((/** @type {any} */ row) => row.dataset_id === null && row.derived === null));
    if (!page.has_more) return { imported, areAll: true };
    next = page.next;
  }
  return { imported, areAll: false };
}

const BITS = 144;
const SHOWN = 12; // near images at first

export function Find() {
  const [distance, setDistance] = useState(16);
  const [hash, setHash] = useState("");
  useEffect(() => {
    if (asked.value) search(asked.value); // what was found may be deleted by now
  }, []);
  const onFile = useCallback((/** @type {File} */ file) => { search({ file, distance }); }, [distance]);
  return html`
    <h1>Find my data</h1>
    <p>Give an image: this shows every dataset that holds it, or one that looks like it, and every component that was trained from it. What you send is not kept.
      To delete a whole <a href=${href(["datasets"])}>dataset</a> or <a href=${href(["components"])}>component</a>, open it.</p>
    <div class="split">
      <div>
        <${FileDrop} label="Image" accept="image/*" onFile=${onFile} hint="Choose it, drop it here, or paste it." />
        <label>Looks like it if at most ${distance} of ${BITS} bits differ
          <input type="range" min="0" max="48" value=${distance} onInput=${typed((text) => setDistance(Number(text)))}
            onChange=${() => asked.value && "file" in asked.value && search({ ...asked.value, distance })} /></label>
      </div>
      <form onSubmit=${submitted(() => search({ sha256: hash.trim().toLowerCase() }))}>
        <label>Or its SHA-256, if you do not want to send it
          <input value=${hash} required pattern="\\s*[0-9a-fA-F]{64}\\s*" title="64 hexadecimal digits, as sha256sum prints them" spellcheck=${false} onInput=${typed(setHash)} /></label>
        <button>Look for these bytes</button>
      </form>
    </div>
    <div aria-live="polite">${asked.value && html`<${Result} now=${asked.value} />`}</div>`;
}

/** @param {{ now: Asked }} props */
function Result({ now }) {
  const file = "file" in now ? now.file : null;
  const picture = useMemo(() => (file ? URL.createObjectURL(file) : ""), [file]);
  useEffect(() => () => URL.revokeObjectURL(picture), [picture]);
  const { value } = found;
  return html`
    ${file && html`<div class="asked"><img class="thumbnail" src=${picture} alt="The image that you gave" width="96" height="96" />
      <div><p><strong>${file.name}</strong></p>
        <p class="quiet">${local.value.sha256 ? html`SHA-256, computed by this browser: <code>${local.value.sha256}</code>` : local.value.says}
          ${value && local.value.sha256 && (value.sha256 === local.value.sha256 ? " The service has the same." : html` <strong>The service has another: ${value.sha256}</strong>`)}</p></div></div>`}
    ${problem.value && html`<${Fault} problem=${problem.value} again=${() => search(now)} />`}
    ${!value && !problem.value && html`<${Loading} text="Searching all datasets …" />`}
    ${value && html`<${Matches} found=${value} isByLooks=${file !== null} />`}
    ${value && html`<${Imported} />`}`;
}

/** @param {{ found: any, isByLooks: boolean }} props */
function Matches({ found: { exact, near, has_more: hasMore, not_compared: notCompared, perceptual_hash: looks }, isByLooks }) {
  const [chosen, setChosen] = useState(/** @type {string[]} */ ([]));
  const [areAll, setAreAll] = useState(false);
  /** @param {any} row @param {any} says */
  const card = (row, says) => {
    const id = `${row.dataset_id}/${row.id}`;
    return html`<li class="card choice" key=${id}><${Choice} row=${row} isChosen=${chosen.includes(id)} onChange=${() => setChosen(toggled(chosen, id))}>
      <p>${says}</p>
      <p>Dataset <${NamedLink} place="datasets" id=${row.dataset_id} /></p>
      <p>${row.components.length ? html`Trained on it: <${NamedLinks} place="components" ids=${row.components} />` : "No component was trained on it."}</p>
      <p><a href=${href(["unlearn", "datasets", row.dataset_id, "images", row.id])}>Preview its deletion</a></p><//></li>`;
  };
  return html`
    <h2>The same file</h2>
    ${exact.length ? html`<ul class="cards matches">${exact.map((/** @type {any} */ row) => card(row, "The same bytes."))}</ul>` : html`<p>No dataset holds these bytes.</p>`}
    ${isByLooks && html`<h2>Looks like it</h2>
      ${near.length ? html`<ul class="cards matches">${near.slice(0, areAll ? undefined : SHOWN).map((/** @type {any} */ row) => card(row, `${row.distance} of ${BITS} bits differ.`))}</ul>` : html`<p>${looks === null ? "The image is too even to be compared by its looks." : "No other image looks like it."}</p>`}
      ${near.length > SHOWN && !areAll && html`<p><button onClick=${() => setAreAll(true)}>Show all ${near.length}</button></p>`}
      <p class="quiet">Looks are compared by ${BITS} bits, each of which says which of two neighbouring fields is brighter. The same picture in another format, size or quality differs in a few bits, another picture in about half of them. Small drawings can be near without being the same: look at them. Mirrored, turned or much cut pictures are not found.
        ${notCompared > 0 && ` ${counted(notCompared, "image")} could be compared by bytes only.`}</p>`}
    ${hasMore && html`<p class="notice">There are more than are shown.</p>`}
    ${exact.length + near.length > 0 && html`<${ChosenBar} chosen=${chosen} />`}`;
}

/** Components whose files do not say what images they were trained from. */
function Imported() {
  const [{ imported, areAll }, setFound] = useState({ imported: /** @type {any[]} */ ([]), areAll: true });
  useEffect(() => { importedComponents().then(setFound, () => {}); }, []);
  if (!imported.length) return null;
  return html`
    <h2>What cannot be looked into</h2>
    <p>${counted(imported.length, "component")} came as a file and ${imported.length === 1 ? "does" : "do"} not say what images ${imported.length === 1 ? "it was" : "they were"} trained from, so your image may be in there:
      <${NamedLinks} place="components" ids=${imported.slice(0, 50).map(({ id }) => id)} />${imported.length > 50 || !areAll ? " and more" : ""}. Ask whoever brought ${imported.length === 1 ? "it" : "them"}.</p>`;
}
