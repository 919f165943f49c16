"""The page's Merkle tree equals the definitions of RFC 6962, and its checks the service's."""

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent_composer.receipts import merkle
from tests.support.page_process import Node
from tests.support.rfc6962 import audit_path, subproof, tree_hash

MAX_SIZE = 33
HASHES = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(MAX_SIZE))
ENTRIES = tuple(text.encode() for text in HASHES)
CALL = """async ({ of, hashes, index, first, second, roots, proof }, load) => {
  const { fromHex, hex } = await load("receipts/bytes.js");
  const { isConsistent, leaf, rootByInclusion, rootOf } = await load("receipts/merkle.js");
  if (of === "root") return hex(await rootOf(await Promise.all(hashes.map(leaf))));
  const given = proof.map(fromHex);
  if (of === "growth") {
    return isConsistent(first, fromHex(roots[0]), second, fromHex(roots[1]), given);
  }
  const root = await rootByInclusion(await leaf(hashes[index]), index, second, given);
  return root && hex(root);
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Node]:
    with Node(CALL) as node:
        yield node


def test_roots_and_proofs_of_all_sizes_are_those_of_the_rfc(page):
    for size in range(1, MAX_SIZE + 1):
        root = tree_hash(ENTRIES[:size]).hex()
        assert page({"of": "root", "hashes": HASHES[:size]}) == root
        for index in range(size):
            proof = [each.hex() for each in audit_path(index, ENTRIES[:size])]
            asked = {"of": "place", "hashes": HASHES, "index": index, "second": size}
            assert page(asked | {"proof": proof}) == root, (index, size)
        for first in range(1, size + 1):
            proof = [each.hex() for each in subproof(first, ENTRIES[:size], True)]
            roots = [tree_hash(ENTRIES[:first]).hex(), root]
            asked = {"of": "growth", "first": first, "second": size, "roots": roots}
            assert page(asked | {"proof": proof}) is True, (first, size)


NUMBERS = st.integers(0, MAX_SIZE)
PROOFS = st.lists(st.sampled_from(HASHES[:4]), max_size=8)


@st.composite
def changed_proofs(draw: st.DrawFn) -> tuple[int, int, list[str]]:
    """Two numbers, and a proof that may be theirs with something changed."""
    first, second = sorted((draw(NUMBERS), draw(NUMBERS)))
    sound = subproof(first, ENTRIES[:second], True) if first > 0 else []
    proof = draw(st.just([each.hex() for each in sound]) | PROOFS)
    at = draw(st.integers(0, 8))
    kind = draw(st.sampled_from(["as it is", "dropped", "repeated", "replaced"]))
    if kind != "as it is":
        proof[at : at + 1] = {"dropped": [], "repeated": proof[at : at + 1] * 2}.get(
            kind, [HASHES[0]]
        )
    return first + draw(st.integers(-1, 1)), second + draw(st.integers(-1, 1)), proof


@settings(deadline=None)
@given(changed=changed_proofs())
def test_changed_proofs_of_growth_are_judged_as_the_service_judges_them(page, changed):
    first, second, proof = changed
    roots = [tree_hash(ENTRIES[: max(0, size)]) for size in (first, second)]
    expected = merkle.is_consistent(
        first, roots[0], second, roots[1], [bytes.fromhex(p) for p in proof]
    )

    asked = {"of": "growth", "first": first, "second": second, "proof": proof}
    assert page(asked | {"roots": [root.hex() for root in roots]}) == expected


@settings(deadline=None)
@given(index=st.integers(-1, MAX_SIZE - 1), size=st.integers(0, 2**50), proof=PROOFS)
def test_any_proof_of_a_place_leads_to_the_root_that_the_service_finds(page, index, size, proof):
    leaf = merkle.leaf(ENTRIES[index])
    expected = merkle.root_by_inclusion(leaf, index, size, [bytes.fromhex(each) for each in proof])

    asked = {"of": "place", "hashes": [*HASHES], "index": index, "second": size, "proof": proof}
    if index >= 0:
        assert page(asked) == (expected and expected.hex())
