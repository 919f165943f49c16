/** The ledger as a list, and its whole chain checked in this browser. */
import { exchange } from "../api/client.js";
import { asProblem, useRead, useRows } from "../api/requests.js";
import { Empty, Fault } from "../parts/states.js";
import { Table } from "../parts/table.js";
import { moment } from "../parts/texts.js";
import { href } from "../router.js";
import { html, useState } from "../ui.js";
import { Unavailable } from "./bytes.js";
import { verified } from "./checkpoint.js";
import { readKey } from "./keys.js";
import { ledger } from "./material.js";
import { isSame, leaf, rootOf } from "./merkle.js";
import { brokenAt } from "./verification.js";
import { subjectOf } from "./words.js";

const MAX_CHECKED = 10_000;
/** @typedef {{ state: "good" | "bad" | "warn", says: string }} Finding */

const COLUMNS = [
  { title: "Number", width: "5rem", cell: (/** @type {any} */ row) => html`<a href=${href(["receipts", row.id])}>${row.number}</a>` },
  { title: "What was done", width: "minmax(16rem, 3fr)", cell: (/** @type {any} */ row) => subjectOf(row.body) },
  { title: "When", width: "12rem", cell: (/** @type {any} */ row) => moment(row.created_at) },
  { title: "Signed", width: "6rem", cell: (/** @type {any} */ row) => (row.key_id ? "yes" : "no") },
];

export function Ledger() {
  const { rows, problem, isLoading, more, reload } = useRows("v1/receipts");
  const head = useRead("v1/receipts/head");
  return html`
    <h1>Receipts</h1>
    <p>Every deletion leaves one receipt: what was removed, what was changed, and what no record can promise. Receipts form a chain that cannot be changed unnoticed.${" "}
      ${head.data?.id && html`The newest is <a href=${href(["receipts", head.data.id])}>receipt ${head.data.number}</a>.`}</p>
    <div class="bar"><a class="button" href=${href(["receipts", "verify"])}>Verify a saved file</a><${WholeCheck} /></div>
    ${problem && html`<${Fault} problem=${problem} again=${reload} />`}
    ${!rows.length && !isLoading && !problem && html`<${Empty}><p>Nothing was deleted yet, so there is no receipt.</p><p><a class="button" href=${href(["unlearn"])}>Find my data</a></p><//>`}
    ${rows.length > 0 && html`<${Table} columns=${COLUMNS} rows=${rows} label="Receipts" onEnd=${more} keyOf=${(/** @type {any} */ row) => row.id} />`}`;
}

/** All receipts from the first on, and the signed checkpoint over them. */
function WholeCheck() {
  const [says, setSays] = useState("");
  const [found, setFound] = useState(/** @type {any} */ (null));
  const check = async () => {
    setFound(null);
    setSays("Reading the ledger …");
    setFound(await checked((count) => setSays(`${count} receipts read …`)).catch((error) => (error instanceof Unavailable ? { state: "warn", says: error.message } : asProblem(error))));
    setSays("");
  };
  return html`
    <button onClick=${check} disabled=${says !== ""}>Check the whole ledger in this browser</button>
    <div aria-live="polite" class="whole">${says}
      ${found?.says && html`<p><span class=${`tag ${found.state}`}>${{ good: "✓ passed", bad: "✗ failed", warn: "– not all checked" }[/** @type {Finding} */ (found).state]}</span> ${found.says}</p>`}
      ${found?.status !== undefined && html`<${Fault} problem=${found} again=${check} />`}
    </div>`;
}

/** @param {(count: number) => void} onProgress @returns {Promise<Finding>} */
async function checked(onProgress) {
  const receipts = await ledger(MAX_CHECKED, onProgress);
  if (!receipts.length) return { state: "warn", says: "There is no receipt yet." };
  const fault = await brokenAt(receipts);
  if (fault) return { state: "bad", says: `The chain is broken at receipt ${fault.number}: ${fault.says}.` };
  const chain = `${receipts.length} receipts follow from each other; the last hash is ${receipts[receipts.length - 1].get("hash")}.`;
  const signed = receipts[receipts.length - 1].has("key_id") ? await checkpointOf() : null;
  if (signed === null) return { state: "warn", says: `${chain} This service signs no receipts: note the hash elsewhere, as whoever can write the ledger could write another one.` };
  const { size, root } = signed;
  if (size > receipts.length) return { state: "warn", says: `${chain} There are more, which this page does not check: use tangent verify-receipts.` };
  const leaves = await Promise.all(receipts.slice(0, size).map((receipt) => leaf(receipt.get("hash"))));
  return isSame(await rootOf(leaves), root)
    ? { state: "good", says: `${chain} They make the root that the service signed.` }
    : { state: "bad", says: "The receipts are not those of the signed checkpoint." };
}

/** Return the signed checkpoint; null where the service signs none. */
async function checkpointOf() {
  try {
    const { public_key: pem } = JSON.parse((await exchange("GET", "v1/receipts/key")).text);
    const key = await readKey(pem);
    return (await verified((await exchange("GET", "v1/receipts/checkpoint")).text, key ? [key] : [])).checkpoint;
  } catch (error) {
    if (asProblem(error).code === "receipts_not_signed") return null;
    throw error;
  }
}
