/** Checkpoints: size and root of the ledger as a signed note (C2SP tlog-checkpoint and signed-note). */
import { fromBase64, hex, isSigned, joined, sha256, utf8 } from "./bytes.js";

const MAX_LENGTH = 2 ** 20;
const SIGNATURE = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/;
const SIZE = /^(0|[1-9]\d{0,15})$/;

/** A text that is no checkpoint, or is not signed by a key that was given; the message says why. */
export class BadCheckpoint extends Error {}

/** @typedef {{ origin: string, size: number, root: Uint8Array }} Checkpoint */

/**
 * Return what a note says, its signatures not looked at.
 * @param {string} note
 * @returns {{ checkpoint: Checkpoint, body: string, signatures: Signature[] }}
 * @throws {BadCheckpoint}
 */
export function readNote(note) {
  if (note.length > MAX_LENGTH) throw new BadCheckpoint(`it has more than ${MAX_LENGTH} characters`);
  if (/[\x00-\x09\x0b-\x1f]/.test(note)) throw new BadCheckpoint("it has control characters: save the bytes as the service sent them");
  const gap = note.lastIndexOf("\n\n");
  if (gap < 0 || !note.endsWith("\n") || gap + 2 === note.length) {
    throw new BadCheckpoint("it has no empty line and signature after it");
  }
  const lines = note.slice(0, gap).split("\n");
  if (lines.length < 3 || lines.includes("")) throw new BadCheckpoint("its text is not an origin, a size and a root, a line each");
  const [origin, size, text] = lines;
  const root = fromBase64(text);
  if (!SIZE.test(size) || !Number.isSafeInteger(Number(size)) || root?.length !== 32) {
    throw new BadCheckpoint("its second line is no decimal size, or its third no root in base64");
  }
  const signatures = note.slice(gap + 2, -1).split("\n").map(signatureOf);
  return { checkpoint: { origin, size: Number(size), root }, body: note.slice(0, gap + 1), signatures };
}

/** @typedef {{ name: string, hash: string, signature: Uint8Array }} Signature */

/** @param {string} line @returns {Signature} */
function signatureOf(line) {
  const match = SIGNATURE.exec(line);
  const made = match && fromBase64(match[2]);
  if (!match || !made || made.length < 5) throw new BadCheckpoint("a line after its text is no signature of a note");
  return { name: match[1], hash: hex(made.slice(0, 4)), signature: made.slice(4) };
}

/**
 * Return the checkpoint and the keys that signed it, if at least one did and none has failed.
 * @template {{ bytes: Uint8Array }} Key
 * @param {string} note @param {Key[]} keys
 * @returns {Promise<{ checkpoint: Checkpoint, by: Key[] }>}
 * @throws {BadCheckpoint | import("./bytes.js").Unavailable}
 */
export async function verified(note, keys) {
  const { checkpoint, body, signatures } = readNote(note);
  const known = new Map();
  for (const key of keys) known.set(await keyHash(checkpoint.origin, key.bytes), key);
  const by = [];
  for (const { name, hash, signature } of signatures) {
    const key = name === checkpoint.origin ? known.get(hash) : undefined;
    if (!key) continue; // a witness may have added its own
    if (!(await isSigned(key.bytes, signature, utf8(body)))) throw new BadCheckpoint("its signature is not by the key that it names");
    by.push(key);
  }
  if (!by.length) throw new BadCheckpoint("none of the given keys has signed it");
  return { checkpoint, by };
}

/** Return the four bytes, in hex, that name a key in signatures of notes. @param {string} name @param {Uint8Array} key */
async function keyHash(name, key) {
  return hex((await sha256(joined(utf8(`${name}\n`), Uint8Array.of(1), key))).slice(0, 4));
}
