/** Bytes as texts, their SHA-256 and Ed25519 signatures, by the browser's own cryptography. */

/** A check that this browser cannot make; the message says why. */
export class Unavailable extends Error {}

const INSECURE = "This page was loaded over plain http from another machine, and there browsers offer no "
  + "cryptography (crypto.subtle). Open it by https, or on the service's own machine.";
const NO_ED25519 = "This browser's cryptography (WebCrypto) has no Ed25519. Use a newer one.";

/** @returns {SubtleCrypto} @throws {Unavailable} */
function subtle() {
  if (!globalThis.crypto?.subtle) throw new Unavailable(INSECURE);
  return crypto.subtle;
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export const utf8 = (text) => new TextEncoder().encode(text);

/** @param {Uint8Array} bytes */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {string} text  of hexadecimal digits, whole bytes */
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** Return the bytes of a base64 text; null if they have another spelling. @param {string} text */
export function fromBase64(text) {
  try {
    const binary = atob(text);
    return btoa(binary) === text ? Uint8Array.from(binary, (character) => character.charCodeAt(0)) : null;
  } catch {
    return null;
  }
}

/** @param {...Uint8Array} parts */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/** @param {BufferSource} bytes @throws {Unavailable} */
export async function sha256(bytes) {
  return new Uint8Array(await subtle().digest("SHA-256", bytes));
}

/**
 * Return whether the key signed the text.
 * @param {Uint8Array} key  its 32 bytes
 * @param {Uint8Array} signature @param {Uint8Array} text
 * @throws {Unavailable}
 */
export async function isSigned(key, signature, text) {
  const by = subtle();
  let imported;
  try {
    imported = await by.importKey("raw", joined(key), "Ed25519", false, ["verify"]);
  } catch (error) {
    if (/** @type {any} */ (error)?.name === "NotSupportedError") throw new Unavailable(NO_ED25519);
    return false; // 32 bytes that are no point of the curve
  }
  return by.verify("Ed25519", imported, joined(signature), joined(text));
}
