"""Receipts: one deletion each, the ledger's head, and the outcome of a verification."""

from operator import not_
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

VERSIONS = {
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "torch": "2.13.0",
    "timm": "1.0.31",
}
EXAMPLE: dict[str, Any] = {
    "id": "rcpt_0190",
    "number": 1,
    "created_at": "2025-01-31T09:30:00.123456Z",
    "body": {
        "version": 3,
        "requested_at": "2025-01-31T09:30:00.001234Z",
        "requested_by": "key_0190",
        "epoch": 1,
        "subject": {"kind": "component", "id": "cmp_0190"},
        "subjects": [{"kind": "component", "id": "cmp_0190"}],
        "salt": "b7…",
        "salted_archive_sha256": None,
        "removed": [
            {
                "kind": "component_file",
                "id": "cmp_0190",
                "count": 1,
                "bytes": 1048576,
                "sha256": "77…",
            },
            {"kind": "events", "count": 14},
            {"kind": "components", "count": 1},
        ],
        "invalidated": {
            "compositions": [{"name": "all-sites", "old_etag": "9b…", "new_etag": "41…"}],
            "solved_weights": ["all-sites"],
            "evaluations": [],
        },
        "labels": [{"space": "default", "count": 2, "salted_sha256": ["1c…", "e0…"]}],
        "manifests": [
            {
                "space": "default",
                "before": "5d…",
                "components_before": 5,
                "after": "a8…",
                "components_after": 4,
            }
        ],
        "not_covered": ["component files and images that were downloaded"],
        "probes": [
            {
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "components": 4,
                "images": {"count": 8, "size": 32, "sha256": "e1…"},
                "logits_sha256": "93…",
                "environment": VERSIONS
                | {"passes": "x86_64 AVX2 2 threads, torch 2.13.0, timm 1.0.31"},
            }
        ],
        "code": {"version": "0.1.0", "sha256": "0d…"},
        "environment": VERSIONS,
    },
    "previous_hash": "0" * 64,
    "hash": "c3…",
    "key_id": "8a…",
    "signature": "b2…",
}


class ReceiptOut(BaseModel):
    """The sealed record of what a deletion removed and invalidated.

    After a change of a dataset's images or labels, `components` also has the `outcome` for every
    component: `down_dated`, `relabelled` or `updated` with both hashes of its file, `retraining`,
    `queued`, or `unaffected` if it was trained without what changed, as val and test images are.

    `hash` is the SHA-256 of all members but itself and `signature`, as JSON with sorted keys and no
    spaces. `signature` is by the Ed25519 key `key_id`, over "tangent-composer receipt <hash>".
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    number: int = Field(description="its place in the ledger: 1, 2, 3 …")
    created_at: str = Field(description="the very text that is hashed")
    body: dict[str, Any]
    previous_hash: str = Field(description="of the receipt before; 64 zeros in the first")
    hash: str
    key_id: str | None = Field(
        None, exclude_if=not_, description="SHA-256 of the public key; in signed receipts only"
    )
    signature: str | None = Field(
        None, exclude_if=not_, description="in hex; in signed receipts only"
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a receipt's row."""
        return cls(
            id=row.id,
            number=row.number,
            created_at=row.stamp,
            body=row.body,
            previous_hash=row.previous_hash,
            hash=row.hash,
            key_id=row.key_id,
            signature=row.signature,
        )


class KeyOut(BaseModel):
    """The public key that checks signatures."""

    key_id: str = Field(description="SHA-256 of the key in DER")
    public_key: str = Field(description="in PEM")


class HeadOut(BaseModel):
    """The last receipt; with its hash noted elsewhere, no earlier receipt can change unnoticed."""

    number: int = Field(description="0 before the first deletion")
    id: str | None
    hash: str = Field(description="64 zeros before the first deletion")


HASHES = Field(description="SHA-256 in hex, in the order of RFC 9162")


class InclusionOut(BaseModel):
    """The proof that the ledger's tree of this size holds the receipt."""

    receipt_id: str
    leaf_index: int = Field(description="the receipt's number, less 1")
    tree_size: int
    hashes: list[str] = HASHES


class ConsistencyOut(BaseModel):
    """The proof that the tree of the second size begins with the tree of the first."""

    first: int
    second: int
    hashes: list[str] = HASHES


class Residue(BaseModel):
    kind: str
    count: int


class VerificationOut(BaseModel):
    """The outcome of verifying a receipt."""

    receipt_id: str
    ok: bool = Field(
        description="the chain holds, nothing is left, and no other check has found a contradiction"
    )
    chain_ok: bool
    chain_broken_at: int | None = Field(description="number of the first receipt that is not sound")
    tree_ok: bool = Field(
        description="whether the stored Merkle tree is the one over the hashes of all receipts"
    )
    signature_ok: bool | None = Field(
        description="whether it is signed by the key that it names; null if it is not signed"
    )
    manifest_ok: bool | None = Field(
        description="whether the components that remained are still those; null where a later "
        "deletion in the same space has taken its place"
    )
    files_ok: bool | None = Field(
        description="whether the files of the components that remained have the SHA-256 that their "
        "rows say; null if those read do, and some were left out"
    )
    files_checked: int
    files_left_out: int = Field(description="beyond 4 GiB, the largest ones")
    probe_ok: bool | None = Field(
        description="whether they answer the probe's images as they did; null without a probe, "
        "where a later deletion has moved on from it, and on other hardware or versions"
    )
    residue: list[Residue] = Field(
        description="what still names the deleted; empty if nothing does"
    )
    checked: list[str] = Field(description="where was looked")
    not_covered: list[str] = Field(description="what no such check can see")
