/** The checks of a receipt, made by this browser from what was loaded or saved, without the service. */
import { counted } from "../parts/texts.js";
import { fromHex, hex, isSigned, sha256, Unavailable, utf8 } from "./bytes.js";
import { BadJson, canonical } from "./canonical.js";
import { BadCheckpoint, verified } from "./checkpoint.js";
import { readKey } from "./keys.js";
import { isConsistent, isSame, leaf, rootByInclusion } from "./merkle.js";
import { consistencyOf, inclusionOf, numberOf } from "./proofs.js";

/**
 * @typedef {"passed" | "failed" | "not run"} State
 * @typedef {{ name: string, state: State, says: string, computed?: string, expected?: string }} Step
 * @typedef {import("./proofs.js").Material} Material
 * @typedef {import("./keys.js").Key} Key
 * @typedef {{ origin: string, size: number, root: string }} Tree
 * @typedef {{ steps: Step[], verdict: "verified" | "refused" | "incomplete", isSigned: boolean, key: Key | null, tree: Tree | null }} Verification
 */

/** Steps without which a receipt is not verified; one from before there was a key has no signature of its own. */
const NEEDED = ["Content", "Checkpoint", "Place in the ledger"];

/**
 * Check a receipt and what came with it; every step that cannot be made says why, and none is taken for granted.
 * @param {Material} material @param {Tree | null} seen  the ledger as it was seen before
 * @returns {Promise<Verification>}
 */
export async function verify(material, seen) {
  const keys = /** @type {Key[]} */ ([]);
  const steps = /** @type {Step[]} */ ([]);
  /** @param {string} name @param {() => Promise<Omit<Step, "name">>} check */
  const make = async (name, check) => steps.push({ name, ...(await tried(check)) });
  let note = /** @type {Awaited<ReturnType<typeof verified<Key>>> | null} */ (null);
  await make("Content", () => checkContent(material.receipt));
  await make("Public key", () => readKeys(material.keys, keys));
  await make("Signature", () => checkSignature(material.receipt, keys));
  await make("Checkpoint", async () => {
    if (material.checkpoint === null) return notRun("There is no checkpoint: this service signs none, or the file has none.");
    if (!keys.length) return notRun("There is no key to check its signature with.");
    note = await verified(material.checkpoint, keys);
    const { size, origin } = note.checkpoint;
    return passed(`The service signed that its ledger ${origin} has ${counted(size, "receipt")} and this root.`, hex(note.checkpoint.root));
  });
  await make("Place in the ledger", () => checkPlace(material, note?.checkpoint ?? null));
  if (material.before !== undefined) await make("Chain", () => checkChain(material.receipt, material.before ?? null));
  if (seen) await make("Growth", () => checkGrowth(material, note?.checkpoint ?? null, seen));
  const tree = note && { ...note.checkpoint, root: hex(note.checkpoint.root) };
  return { steps, verdict: verdictOf(steps, material.receipt.has("key_id")), isSigned: material.receipt.has("key_id"), key: note?.by[0] ?? keyOf(material.receipt, keys), tree };
}

/** @param {Step[]} steps @param {boolean} isSigned */
function verdictOf(steps, isSigned) {
  if (steps.some(({ state }) => state === "failed")) return "refused";
  const isWhole = [...NEEDED, ...(isSigned ? ["Signature"] : [])].every((name) => steps.some((step) => step.name === name && step.state === "passed"));
  return isWhole ? "verified" : "incomplete";
}

/** @param {() => Promise<Omit<Step, "name">>} check @returns {Promise<Omit<Step, "name">>} */
async function tried(check) {
  try {
    return await check();
  } catch (error) {
    if (error instanceof Unavailable) return notRun(error.message);
    if (error instanceof BadCheckpoint) return failed(`The checkpoint cannot be trusted: ${error.message}.`);
    if (error instanceof BadJson) return failed(`What was given cannot be read: ${error.message}.`);
    throw error;
  }
}

/** @param {string} says @param {string} [computed] @param {string} [expected] */
const passed = (says, computed, expected) => ({ state: /** @type {State} */ ("passed"), says, computed, expected });
/** @param {string} says @param {string} [computed] @param {string} [expected] */
const failed = (says, computed, expected) => ({ state: /** @type {State} */ ("failed"), says, computed, expected });
/** @param {string} says */
const notRun = (says) => ({ state: /** @type {State} */ ("not run"), says });

/** Return the hash that a receipt must have. @param {import("./canonical.js").ValueMap} receipt */
export async function hashOf(receipt) {
  const hashed = new Map([...receipt].filter(([name]) => name !== "hash" && name !== "signature"));
  return hex(await sha256(utf8(canonical(hashed))));
}

/** @param {import("./canonical.js").ValueMap} receipt */
async function checkContent(receipt) {
  const [computed, expected] = [await hashOf(receipt), receipt.get("hash")];
  return computed === expected
    ? passed("The SHA-256 of the receipt's content is the hash that it names.", computed, expected)
    : failed("The receipt is not what its hash was taken of: its content or its hash was changed.", computed, expected);
}

/** @param {string[]} pems @param {Key[]} keys  are added to */
async function readKeys(pems, keys) {
  if (!pems.length) return notRun("No public key was given: this service signs no receipts, or the file has none.");
  for (const pem of pems) {
    const key = await readKey(pem);
    if (key === null) return failed("A public key is no Ed25519 key in PEM.");
    keys.push(key);
  }
  return passed("Its fingerprint, the SHA-256 of the key, is below: compare it with one noted elsewhere.", keys.map(({ id }) => id).join(" "));
}

/** @param {import("./canonical.js").ValueMap} receipt @param {Key[]} keys */
const keyOf = (receipt, keys) => keys.find(({ id }) => id === receipt.get("key_id")) ?? null;

/** @param {import("./canonical.js").ValueMap} receipt @param {Key[]} keys */
async function checkSignature(receipt, keys) {
  if (!receipt.has("key_id")) return notRun("The receipt has no signature of its own. If a signed ledger holds it, that one vouches for it.");
  if (!keys.length) return notRun("There is no key to check the signature with.");
  const [key, signature] = [keyOf(receipt, keys), receipt.get("signature")];
  if (key === null) return failed("The receipt is signed by a key that was not given.", keys.map(({ id }) => id).join(" "), receipt.get("key_id"));
  const text = utf8(`tangent-composer receipt ${receipt.get("hash")}`);
  const holds = /^[0-9a-f]{128}$/.test(signature) && await isSigned(key.bytes, fromHex(signature), text);
  return holds
    ? passed("The key that the receipt names signed its hash (Ed25519).")
    : failed("The receipt has a signature that is not by its key.");
}

/** @param {Material} material @param {import("./checkpoint.js").Checkpoint | null} checkpoint */
async function checkPlace({ receipt, inclusion }, checkpoint) {
  if (inclusion === null) return notRun("There is no proof of its place: the file has none.");
  if (checkpoint === null) return notRun("Without a checkpoint that is signed there is nothing to find the receipt in.");
  const proof = inclusionOf(inclusion);
  if (proof.receiptId !== receipt.get("id") || proof.index + 1 !== numberOf(receipt.get("number"))) {
    return failed("The proof is of another receipt.", `${proof.receiptId} at ${proof.index + 1}`, `${receipt.get("id")} at ${numberOf(receipt.get("number"))}`);
  }
  if (proof.size !== checkpoint.size) return failed(`The proof is for a ledger of ${proof.size} receipts, and not for the checkpoint's ${checkpoint.size}.`);
  const root = await rootByInclusion(await leaf(receipt.get("hash")), proof.index, proof.size, proof.hashes);
  const computed = root === null ? "none" : hex(root);
  return root !== null && isSame(root, checkpoint.root)
    ? passed(`With ${proof.hashes.length === 1 ? "1 other hash" : `${proof.hashes.length} other hashes`}, the receipt leads to the root that was signed (Merkle tree, RFC 9162).`, computed, hex(checkpoint.root))
    : failed("The receipt is not in the ledger of the checkpoint: receipt, proof or checkpoint was changed.", computed, hex(checkpoint.root));
}

/** @param {import("./canonical.js").ValueMap} receipt @param {import("./canonical.js").ValueMap[] | null} before */
async function checkChain(receipt, before) {
  if (before === null) return notRun("Too many receipts are before it to load them here. Its place in the ledger stands for them, and the list of receipts checks all.");
  const fault = await brokenAt([...before, receipt]);
  return fault === null
    ? passed(before.length ? `The ${before.length + 1} receipts up to this one follow from each other.` : "It is the first receipt, and follows none.", before.at(-1)?.get("hash"), before.length ? receipt.get("previous_hash") : undefined)
    : failed(`The chain is broken at receipt ${fault.number}: ${fault.says}.`, fault.computed, fault.expected);
}

/**
 * Return where a ledger from its first receipt on is broken; null if it is sound.
 * @param {import("./canonical.js").ValueMap[]} receipts
 */
export async function brokenAt(receipts) {
  let previous = "0".repeat(64);
  for (const [index, receipt] of receipts.entries()) {
    const number = index + 1;
    if (numberOf(receipt.get("number")) !== number) return { number, says: "one is missing, or out of order" };
    const [named, hash] = [receipt.get("previous_hash"), receipt.get("hash")];
    if (named !== previous) return { number, says: "it does not follow from the one before it", computed: previous, expected: named };
    const computed = await hashOf(receipt);
    if (computed !== hash) return { number, says: "it is not what its hash was taken of", computed, expected: hash };
    previous = hash;
  }
  return null;
}

/** @param {Material} material @param {import("./checkpoint.js").Checkpoint | null} now @param {Tree} seen */
async function checkGrowth({ consistency }, now, seen) {
  if (now === null) return notRun("Without a checkpoint that is signed there is nothing to compare with what this browser saw before.");
  if (now.origin !== seen.origin) return failed("This is another ledger than the one that this browser saw here before.", now.origin, seen.origin);
  if (now.size < seen.size) return failed(`The ledger was cut: this browser has seen it with ${seen.size} receipts, and now it has ${now.size}.`);
  if (!consistency && now.size > seen.size) return notRun("There is no proof that the ledger has only grown since this browser saw it.");
  const proof = consistency ? consistencyOf(consistency) : { first: seen.size, second: now.size, hashes: [] };
  if (proof.first !== seen.size || proof.second !== now.size) return failed("The proof of growth is of other moments of the ledger.");
  return await isConsistent(seen.size, fromHex(seen.root), now.size, now.root, proof.hashes)
    ? passed(`The ledger has only grown since this browser saw it with ${counted(seen.size, "receipt")}: nothing before was changed.`, hex(now.root))
    : failed(`The ledger was rewritten: it does not continue the one of ${seen.size} receipts that this browser saw.`, hex(now.root), seen.root);
}
