"""The Merkle tree of RFC 6962 and RFC 9162 over a list of entries: nodes, proofs, and their checks.

    Frontier().add(leaf(entry))                nodes that a further leaf completes
    inclusion(…), consistency(…)               ranges of leaves whose hashes are the proof
    hash_of_range(nodes, begin, end)           hash of one range
    root_by_inclusion(…), is_consistent(…)     checks, in as many steps as the tree has levels

A node (level, index) is a complete subtree: its 2^level leaves begin at leaf index·2^level. It
never changes, so it is stored once. The hash over a range that is no complete subtree is joined
from the few that make it up. The module uses the standard library only.
"""

import hashlib
from collections.abc import Mapping, Sequence

EMPTY = hashlib.sha256(b"").digest()  # root of a tree without leaves

Node = tuple[int, int]  # level, index
Range = tuple[int, int]  # begin, end


def leaf(entry: bytes) -> bytes:
    """Return the hash of a leaf with this entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def joined(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """Return the largest power of two below the size, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


class Frontier:
    """The complete subtrees that make up a growing tree, from left to right."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Begin at a size with the hashes of `cover(0, size)`."""
        self.size, self.hashes = size, list(hashes)

    def add(self, leaf_hash: bytes) -> list[tuple[Node, bytes]]:
        """Add a leaf; return the nodes that it completes, from the leaf upwards."""
        level, index, hash_ = 0, self.size, leaf_hash
        completed = [((level, index), hash_)]
        while index >> level & 1:
            hash_ = joined(self.hashes.pop(), hash_)
            level += 1
            completed.append(((level, index >> level), hash_))
        self.hashes.append(hash_)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Return the tree's root."""
        return _folded(self.hashes)


def cover(begin: int, end: int) -> list[Node]:
    """Return the complete subtrees that make up a subtree of any tree, from left to right."""
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def hash_of_range(stored: Mapping[Node, bytes], begin: int, end: int) -> bytes:
    """Return the hash over a subtree of any tree, from the stored nodes that `cover` names."""
    return _folded([stored[node] for node in cover(begin, end)])


def _folded(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over complete subtrees that follow each other."""
    if not hashes:
        return EMPTY
    whole = hashes[-1]
    for hash_ in hashes[-2::-1]:
        whole = joined(hash_, whole)
    return whole


def inclusion(index: int, size: int) -> list[Range]:
    """Return the ranges whose hashes prove leaf `index` of a tree of this size, leaf first."""
    ranges, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def consistency(first: int, second: int) -> list[Range]:
    """Return the ranges whose hashes prove that the second tree begins with the first."""
    if first == 0:
        return []
    ranges, begin, end = [], 0, second
    while end != first:
        middle = begin + split(end - begin)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    if begin:  # else this is the first tree itself, whose root the reader has
        ranges.append((begin, end))
    return ranges[::-1]


def root_by_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]
) -> bytes | None:
    """Return the root that the proof leads to (RFC 9162, 2.1.3.2); None if it cannot be one."""
    if not 0 <= index < size:
        return None
    here, last, root = index, size - 1, leaf_hash
    for hash_ in proof:
        if last == 0:
            return None
        if here & 1 or here == last:
            root = joined(hash_, root)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            root = joined(root, hash_)
        here, last = here >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether the proof shows that the second tree begins with the first (2.1.4.2)."""
    if not 0 <= first <= second:
        return False
    if first in (0, second):
        return not proof and first_root == (second_root if first == second else EMPTY)
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    here, last = first - 1, second - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            old, new = joined(hash_, old), joined(hash_, new)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            new = joined(new, hash_)
        here, last = here >> 1, last >> 1
    return last == 0 and (old, new) == (first_root, second_root)
