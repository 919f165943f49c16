"""The Merkle tree equals the definitions of RFC 6962."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent_composer.receipts import merkle
from tests.support.rfc6962 import audit_path, subproof, tree_hash

MAX_SIZE = 70
ENTRIES = tuple(hashlib.sha256(bytes([number])).digest() for number in range(MAX_SIZE))


def stored(size: int) -> dict[merkle.Node, bytes]:
    """Nodes as they are stored, leaf by leaf."""
    frontier = merkle.Frontier()
    return {
        node: hash_ for entry in ENTRIES[:size] for node, hash_ in frontier.add(merkle.leaf(entry))
    }


NODES = stored(MAX_SIZE)
ROOTS = [tree_hash(ENTRIES[:size]) for size in range(MAX_SIZE + 1)]


def hashes(ranges: list[merkle.Range]) -> list[bytes]:
    return [merkle.hash_of_range(NODES, *range_) for range_ in ranges]


@pytest.mark.parametrize("size", range(MAX_SIZE + 1))
def test_root_and_nodes_are_those_of_the_rfc(size):
    nodes = stored(size)

    assert merkle.hash_of_range(nodes, 0, size) == ROOTS[size]
    assert len(nodes) == 2 * size - size.bit_count()
    for (level, index), hash_ in nodes.items():
        assert hash_ == tree_hash(ENTRIES[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", range(1, MAX_SIZE + 1))
def test_every_inclusion_proof_is_the_audit_path_and_leads_to_the_root_of_its_size_only(size):
    for index in range(size):
        leaf, proof = merkle.leaf(ENTRIES[index]), hashes(merkle.inclusion(index, size))

        assert proof == audit_path(index, ENTRIES[:size])
        assert merkle.root_by_inclusion(leaf, index, size, proof) == ROOTS[size]
        for wrong in (index - 1, index + 1, size, -1):
            assert merkle.root_by_inclusion(leaf, wrong, size, proof) != ROOTS[size]
        for other in [proof[1:], proof[:-1], [*proof, ROOTS[size]], proof[::-1]]:
            if other != proof:
                assert merkle.root_by_inclusion(leaf, index, size, other) != ROOTS[size]


@pytest.mark.parametrize("second", range(MAX_SIZE + 1))
def test_every_consistency_proof_is_the_rfcs_and_holds_for_its_two_roots_only(second):
    for first in range(second + 1):
        proof = hashes(merkle.consistency(first, second))
        roots = ROOTS[first], second, ROOTS[second]

        assert proof == ([] if first == 0 else subproof(first, ENTRIES[:second], True))
        assert merkle.is_consistent(first, *roots, proof)
        for wrong in {first - 1, first + 1, second + 1} - {first}:
            assert not merkle.is_consistent(wrong, *roots, proof)
        assert not merkle.is_consistent(first, *roots, [*proof, ROOTS[second]])
        assert not merkle.is_consistent(first, b"\x00" * 32, second, ROOTS[second], proof)
        if first > 0:
            assert not merkle.is_consistent(first, ROOTS[first], second, b"\x00" * 32, proof)
        for at in range(len(proof)):
            assert not merkle.is_consistent(first, *roots, proof[:at] + proof[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_bit_changed_anywhere_in_a_proof_or_a_root_breaks_it(data):
    second = data.draw(st.integers(2, MAX_SIZE))
    first = data.draw(st.integers(1, second - 1))
    proof = hashes(merkle.consistency(first, second))
    parts = [ROOTS[first], ROOTS[second], *proof]
    at, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[at] = (int.from_bytes(parts[at], "big") ^ 1 << bit).to_bytes(32, "big")
    assert not merkle.is_consistent(first, parts[0], second, parts[1], parts[2:])

    path = [merkle.leaf(ENTRIES[first]), *hashes(merkle.inclusion(first, second))]
    at = data.draw(st.integers(0, len(path) - 1))
    path[at] = (int.from_bytes(path[at], "big") ^ 1 << bit).to_bytes(32, "big")
    assert merkle.root_by_inclusion(path[0], first, second, path[1:]) != ROOTS[second]


def test_a_proof_of_a_million_leaves_reads_and_has_few_hashes():
    for index, size in [(0, 2**20), (2**20 - 1, 2**20), (999_999, 1_000_000), (7, 2**20 + 1)]:
        ranges = merkle.inclusion(index, size)
        assert len(ranges) <= 21
        assert sum(len(merkle.cover(*range_)) for range_ in ranges) <= 41
    ranges = merkle.consistency(524_287, 1_000_001)
    assert len(ranges) <= 21
    assert sum(len(merkle.cover(*range_)) for range_ in ranges) <= 41
