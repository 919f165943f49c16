/** What a receipt is verified with: loaded from the service once, or read from a file. */
import { exchange, get } from "../api/client.js";
import { asProblem } from "../api/requests.js";
import { parsed } from "./canonical.js";
import { readNote } from "./checkpoint.js";
import { remembered } from "./keys.js";
import { numberOf, readReceipt, receiptOf } from "./proofs.js";

const MAX_BEFORE = 100; // receipts that are loaded to check the chain: a page

/** @typedef {import("./canonical.js").ValueMap} ValueMap */

/** Return the text of an answer; null where a signed ledger, or a proof, is not to be had. @param {string} path @param {import("../api/client.js").Query} [query] */
async function textOf(path, query) {
  try {
    return (await exchange("GET", path, { query })).text;
  } catch (error) {
    if (["receipts_not_signed", "receipt_key_not_found", "no_receipts"].includes(asProblem(error).code)) return null;
    throw error;
  }
}

/**
 * Load a receipt, and with it all that it is verified with.
 * @param {string} id
 * @returns {Promise<import("./proofs.js").Material>}
 */
export async function load(id) {
  const path = `v1/receipts/${encodeURIComponent(id)}`;
  const receipt = readReceipt((await exchange("GET", path)).text);
  const checkpoint = await isSigned(receipt) ? await textOf("v1/receipts/checkpoint") : null;
  const size = checkpoint === null ? null : readNote(checkpoint).checkpoint.size;
  const [inclusion, keys, consistency, before] = await Promise.all([
    size === null ? null : textOf(`${path}/inclusion`, { size }),
    checkpoint === null && !receipt.has("key_id") ? [] : keysOf(receipt),
    growthTo(size),
    receiptsBefore(numberOf(receipt.get("number")) ?? 0),
  ]);
  return {
    receipt, checkpoint, keys,
    inclusion: inclusion === null ? null : /** @type {ValueMap} */ (parsed(inclusion)),
    consistency: consistency === null ? null : /** @type {ValueMap} */ (parsed(consistency)),
    before,
  };
}

/** Return whether the service signs: asking for a checkpoint where there is none is an error in the browser's console. @param {ValueMap} receipt */
async function isSigned(receipt) {
  if (receipt.has("key_id")) return true;
  const { id } = await get("v1/receipts/head");
  return "key_id" in await get(`v1/receipts/${encodeURIComponent(id)}`);
}

/** Return the keys of the receipt and of the checkpoint, in PEM. @param {ValueMap} receipt */
async function keysOf(receipt) {
  const answers = await Promise.all([textOf("v1/receipts/key"),
    receipt.has("key_id") ? textOf("v1/receipts/key", { key_id: receipt.get("key_id") }) : null]);
  return [...new Set(answers.flatMap((answer) => answer === null ? [] : [String(JSON.parse(answer).public_key)]))];
}

/** Return the proof that the ledger has only grown since this browser saw it. @param {number | null} size */
async function growthTo(size) {
  const first = remembered().tree?.size;
  if (size === null || first === undefined || first >= size) return null;
  return textOf("v1/receipts/consistency", { first, second: size });
}

/** Return the receipts before this one; null if they are too many. @param {number} number */
async function receiptsBefore(number) {
  return number > MAX_BEFORE ? null : ledger(number - 1);
}

/**
 * Load the ledger from its first receipt on.
 * @param {number} most @param {(count: number) => void} [onProgress]
 */
export async function ledger(most, onProgress) {
  /** @type {ValueMap[]} */
  const receipts = [];
  for (let next = undefined, more = most > 0; more;) {
    const page = /** @type {ValueMap} */ (parsed((await exchange("GET", "v1/receipts", { query: { limit: 100, after: next } })).text));
    receipts.push(...page.get("data").map(receiptOf));
    next = page.get("next");
    more = page.get("has_more") && receipts.length < most;
    onProgress?.(receipts.length);
  }
  return receipts.slice(0, most);
}

const MAX_BYTES = 5e6;

/** @param {File} file @returns {Promise<string>} @throws {Error} whose message says why it cannot be read */
export async function readText(file) {
  if (file.size > MAX_BYTES) throw new Error(`${file.name} has more than ${MAX_BYTES / 1e6} MB: no saved receipt is so large`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is no text in UTF-8`);
  }
}

/** Let the browser save a text. @param {string} name @param {string} text */
export function saveText(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
