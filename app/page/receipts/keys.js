/** Public keys of receipts, and what this browser remembers of the ledgers that it has seen. */
import { base } from "../api/base.js";
import { fromBase64, fromHex, hex, sha256 } from "./bytes.js";

const PEM = /^-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)\s-----END PUBLIC KEY-----\s*$/;
const ED25519 = fromHex("302a300506032b6570032100"); // what stands before the 32 bytes in DER
const REMEMBERED = "tangent-composer ledgers";

/** @typedef {{ id: string, bytes: Uint8Array, pem: string }} Key  `id`: SHA-256 of the key in DER */

/**
 * Return the Ed25519 key of a PEM text; null if there is none.
 * @param {string} pem @returns {Promise<Key | null>}
 * @throws {import("./bytes.js").Unavailable}
 */
export async function readKey(pem) {
  const der = fromBase64(PEM.exec(pem)?.[1].replaceAll(/\s/g, "") ?? "");
  if (der?.length !== 44 || hex(der.slice(0, 12)) !== hex(ED25519)) return null;
  return { id: hex(await sha256(der)), bytes: der.slice(12), pem };
}

/** @typedef {{ id: string, since: string, isCompared: boolean }} SeenKey */
/** @typedef {{ keys: SeenKey[], tree?: { origin: string, size: number, root: string, at: string } }} Seen */

/** Return what this browser has seen of this service's ledger. @returns {Seen} */
export function remembered() {
  return everything()[base.href] ?? { keys: [] };
}

/** @param {Partial<Seen>} change */
export function remember(change) {
  try {
    localStorage.setItem(REMEMBERED, JSON.stringify({ ...everything(), [base.href]: { ...remembered(), ...change } }));
  } catch {
    // A browser that stores nothing sees every key for the first time, and says so.
  }
}

/** @returns {Record<string, Seen>} */
function everything() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED) ?? "{}");
  } catch {
    return {};
  }
}

/** Remember that a person has compared the key's fingerprint with one noted elsewhere. @param {string} id */
export function trust(id) {
  const others = remembered().keys.filter((key) => key.id !== id);
  remember({ keys: [...others, { id, since: new Date().toISOString(), isCompared: true }] });
}

/** Forget the keys and the size of this service's ledger. */
export function forget() {
  remember({ keys: [], tree: undefined });
}

/** @typedef {{ state: "first" | "seen" | "compared" | "changed", since?: string }} Standing */

/**
 * Return what a key is to this browser; with `remembers`, the first key is remembered: trust on first use.
 * @param {string} id @param {boolean} remembers @returns {Standing}
 */
export function standing(id, remembers) {
  const { keys } = remembered();
  const known = keys.find((key) => key.id === id);
  if (known) return { state: known.isCompared ? "compared" : "seen", since: known.since };
  if (keys.length) return { state: "changed", since: keys[keys.length - 1].since };
  if (remembers) remember({ keys: [{ id, since: new Date().toISOString(), isCompared: false }] });
  return { state: "first" };
}
