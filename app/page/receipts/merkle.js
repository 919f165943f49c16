/** The Merkle tree of RFC 6962 and RFC 9162: its root, and the checks of proofs. */
import { hex, joined, sha256, utf8 } from "./bytes.js";

const [LEAF, NODE] = [Uint8Array.of(0), Uint8Array.of(1)];

/** @param {Uint8Array} left @param {Uint8Array} right */
const node = (left, right) => sha256(joined(NODE, left, right));

/** Return the hash of the leaf of a receipt with this hash. @param {string} hash  as text */
export const leaf = (hash) => sha256(joined(LEAF, utf8(hash)));

/** @param {Uint8Array} one @param {Uint8Array} other */
export const isSame = (one, other) => hex(one) === hex(other);

/** Return the root over these leaves. @param {Uint8Array[]} leaves @returns {Promise<Uint8Array>} */
export async function rootOf(leaves) {
  if (leaves.length < 2) return leaves[0] ?? sha256(new Uint8Array());
  let left = 1;
  while (2 * left < leaves.length) left *= 2;
  return node(await rootOf(leaves.slice(0, left)), await rootOf(leaves.slice(left)));
}

/**
 * Return the root that a proof leads to (RFC 9162, 2.1.3.2); null if it cannot be one.
 * @param {Uint8Array} leafHash @param {number} index @param {number} size @param {Uint8Array[]} proof
 */
export async function rootByInclusion(leafHash, index, size, proof) {
  if (!(index >= 0 && index < size)) return null;
  const path = new Path(index, size - 1);
  let root = leafHash;
  for (const hash of proof) {
    if (path.last === 0) return null;
    const isLeft = path.goUp();
    root = await (isLeft ? node(hash, root) : node(root, hash));
  }
  return path.last === 0 ? root : null;
}

/**
 * Return whether the proof shows that the second tree begins with the first (RFC 9162, 2.1.4.2).
 * @param {number} first @param {Uint8Array} firstRoot @param {number} second @param {Uint8Array} secondRoot
 * @param {Uint8Array[]} proof
 */
export async function isConsistent(first, firstRoot, second, secondRoot, proof) {
  if (!(first >= 0 && first <= second)) return false;
  if (first === 0 || first === second) {
    return proof.length === 0 && isSame(firstRoot, first === second ? secondRoot : await sha256(new Uint8Array()));
  }
  const hashes = Number.isInteger(Math.log2(first)) ? [firstRoot, ...proof] : proof;
  if (hashes.length === 0) return false;
  const path = new Path(first - 1, second - 1);
  while (path.here % 2) path.halve();
  let [old, now] = [hashes[0], hashes[0]];
  for (const hash of hashes.slice(1)) {
    if (path.last === 0) return false;
    if (path.goUp()) [old, now] = [await node(hash, old), await node(hash, now)];
    else now = await node(now, hash);
  }
  return path.last === 0 && isSame(old, firstRoot) && isSame(now, secondRoot);
}

/** A node's way up; numbers may have more bits than JavaScript's shifts take. */
class Path {
  /** @param {number} here @param {number} last  index of the level's last node */
  constructor(here, last) {
    this.here = here;
    this.last = last;
  }

  halve() {
    this.here = Math.floor(this.here / 2);
    this.last = Math.floor(this.last / 2);
  }

  /** Go to the next node that has a sibling on the proof; return whether that one is on the left. */
  goUp() {
    const isLeft = this.here % 2 === 1 || this.here === this.last;
    if (isLeft) while (this.here > 0 && this.here % 2 === 0) this.halve();
    this.halve();
    return isLeft;
  }
}
