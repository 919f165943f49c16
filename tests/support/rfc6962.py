"""The definitions of RFC 6962, section 2.1, as they stand there: recursive, over whole lists."""

import hashlib
from functools import cache

Entries = tuple[bytes, ...]


def largest_power_below(size: int) -> int:
    return max(2**power for power in range(10) if 2**power < size)


@cache
def tree_hash(entries: Entries) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = largest_power_below(len(entries))
    return hashlib.sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:])).digest()


def audit_path(m: int, entries: Entries) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(entries) == 1:
        return []
    k = largest_power_below(len(entries))
    if m < k:
        return [*audit_path(m, entries[:k]), tree_hash(entries[k:])]
    return [*audit_path(m - k, entries[k:]), tree_hash(entries[:k])]


def subproof(m: int, entries: Entries, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2; PROOF is that with `known`."""
    if m == len(entries):
        return [] if known else [tree_hash(entries)]
    k = largest_power_below(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], known), tree_hash(entries[k:])]
    return [*subproof(m - k, entries[k:], False), tree_hash(entries[:k])]
