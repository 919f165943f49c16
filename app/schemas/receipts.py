"""Receipts: one deletion each, the ledger's head, and the outcome of a verification."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE = {
    "id": "rcpt_0190",
    "number": 1,
    "created_at": "2025-01-31T09:30:00.123456Z",
    "body": {
        "version": 1,
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
    },
    "previous_hash": "0" * 64,
    "hash": "c3…",
}


class ReceiptOut(BaseModel):
    """What a deletion removed and invalidated, sealed.

    Of one image, or of labels that were renamed, `components` also has each component's `outcome`:
    `down_dated` or `relabelled` with both hashes of its file, `retraining`, or `queued`.

    `hash` is the SHA-256 of the other five members as JSON with sorted keys and no spaces.
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    number: int = Field(description="its place in the ledger: 1, 2, 3 …")
    created_at: str = Field(description="the very text that is hashed")
    body: dict[str, Any]
    previous_hash: str = Field(description="of the receipt before; 64 zeros in the first")
    hash: str

    @classmethod
    def of(cls, row: Any) -> Self:
        """The receipt's row."""
        return cls(
            id=row.id,
            number=row.number,
            created_at=row.stamp,
            body=row.body,
            previous_hash=row.previous_hash,
            hash=row.hash,
        )


class HeadOut(BaseModel):
    """The last receipt; note its hash elsewhere, and no receipt up to it can change unseen."""

    number: int = Field(description="0 before the first deletion")
    id: str | None
    hash: str = Field(description="64 zeros before the first deletion")


class Residue(BaseModel):
    kind: str
    count: int


class VerificationOut(BaseModel):
    """Whether a receipt still holds."""

    receipt_id: str
    ok: bool = Field(description="the chain holds, nothing is left, and no manifest contradicts")
    chain_ok: bool
    chain_broken_at: int | None = Field(description="number of the first receipt that is not sound")
    manifest_ok: bool | None = Field(
        description="whether the components that remained are still those; null where a later "
        "deletion in the same space has taken its place"
    )
    residue: list[Residue] = Field(
        description="what still names the deleted; empty if nothing does"
    )
    checked: list[str] = Field(description="where was looked")
    not_covered: list[str] = Field(description="what no such check can see")
