/** Receipts, proofs and saved files, read as strictly as `tangent verify-receipts` reads them. */
import { fromHex } from "./bytes.js";
import { BadJson, canonical, Digits, parsed } from "./canonical.js";

const HASHED = ["number", "id", "created_at", "body", "previous_hash"];
const SIGNED = ["key_id", "signature"];
const MAX_HASHES = 128; // twice as many as the deepest tree's proofs have
const FORMAT = "tangent-composer/saved-receipt/1";

/**
 * @typedef {import("./canonical.js").ValueMap} ValueMap
 * @typedef {{ receipt: ValueMap, inclusion: ValueMap | null, checkpoint: string | null, keys: string[],
 *   consistency?: ValueMap | null, before?: ValueMap[] | null }} Material
 *   `keys` in PEM; `before`: the receipts before it, null where they are too many
 */

/** @param {string} text @returns {ValueMap} @throws {BadJson} */
export function readReceipt(text) {
  return receiptOf(parsed(text));
}

/** Return the value if it has a receipt's members and no others. @param {any} value @returns {ValueMap} */
export function receiptOf(value) {
  const receipt = value instanceof Map ? value : new Map();
  const wanted = [...HASHED, "hash", ...(SIGNED.some((name) => receipt.has(name)) ? SIGNED : [])];
  const isWhole = receipt.size === wanted.length && wanted.every((name) => receipt.has(name));
  const areTexts = wanted.every((name) => name === "body" || name === "number" || typeof receipt.get(name) === "string");
  if (!isWhole || !areTexts || numberOf(receipt.get("number")) === null) {
    throw new BadJson("it is no receipt as GET /v1/receipts/{id} answers");
  }
  canonical(receipt); // half of a character has no form to hash
  return receipt;
}

/** Return a whole number that JavaScript can hold exactly; null for all else. @param {any} value */
export function numberOf(value) {
  const number = value instanceof Digits && /^\d+$/.test(value.text) ? Number(value.text) : null;
  return Number.isSafeInteger(number) ? number : null;
}

/** @typedef {{ receiptId: string, index: number, size: number, hashes: Uint8Array[] }} Inclusion */

/** @param {any} value @returns {Inclusion} @throws {BadJson} */
export function inclusionOf(value) {
  const { hashes, numbers } = members(value, ["leaf_index", "tree_size"], ["receipt_id"]);
  return { receiptId: value.get("receipt_id"), index: numbers[0], size: numbers[1], hashes };
}

/** @typedef {{ first: number, second: number, hashes: Uint8Array[] }} Consistency */

/** @param {any} value @returns {Consistency} @throws {BadJson} */
export function consistencyOf(value) {
  const { hashes, numbers } = members(value, ["first", "second"], []);
  return { first: numbers[0], second: numbers[1], hashes };
}

/** @param {any} value @param {string[]} numbers @param {string[]} texts */
function members(value, numbers, texts) {
  const hashes = value instanceof Map && value.size === numbers.length + texts.length + 1 ? value.get("hashes") : null;
  const found = hashes && numbers.map((name) => numberOf(value.get(name)));
  const areHashes = Array.isArray(hashes) && hashes.length <= MAX_HASHES
    && hashes.every((hash) => typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash));
  if (!areHashes || found.includes(null) || !texts.every((name) => typeof value.get(name) === "string")) {
    throw new BadJson("it is no proof as GET /v1/receipts/… answers");
  }
  return { numbers: /** @type {number[]} */ (found), hashes: hashes.map(fromHex) };
}

/** Return the text of a file with all that is needed to verify the receipt later. @param {Material} material */
export function saved({ receipt, inclusion, checkpoint, keys }) {
  const members = { format: FORMAT, receipt, inclusion, checkpoint, public_keys: keys };
  return `${canonical(new Map(Object.entries(members)), "\n")}\n`;
}

/**
 * Return what a saved file, or the text of a receipt alone, has.
 * @param {string} text @returns {Material} @throws {BadJson}
 */
export function readSaved(text) {
  const value = parsed(text);
  if (!(value instanceof Map) || !value.has("format")) {
    return { receipt: receiptOf(value), inclusion: null, checkpoint: null, keys: [] };
  }
  const [inclusion, checkpoint, keys] = ["inclusion", "checkpoint", "public_keys"].map((name) => value.get(name));
  const isWhole = value.size === 5 && (inclusion === null || inclusion instanceof Map)
    && (checkpoint === null || typeof checkpoint === "string")
    && Array.isArray(keys) && keys.length <= 10 && keys.every((key) => typeof key === "string");
  if (value.get("format") !== FORMAT || !isWhole) throw new BadJson(`it is no file in the format ${FORMAT}`);
  return { receipt: receiptOf(value.get("receipt")), inclusion, checkpoint, keys };
}
