"""The audit log's entries."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class AuditOut(BaseModel):
    """One change: who asked for it, by which route, and the ids that it concerned."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "aud_0190",
                "created_at": "2025-01-31T09:30:00.123456Z",
                "key_id": "key_0190",
                "action": "DELETE /v1/components/{component_id}",
                "objects": ["cmp_0190", "rcpt_0190"],
                "outcome": "done",
                "request_id": "req_3f6d2c",
            }
        }
    )

    id: str
    created_at: datetime
    key_id: str = Field(
        description="or `local`, without a key; `settings`, TANGENT_API_KEY; `command:<user>`, "
        "a command that this user of the operating system ran"
    )
    action: str = Field(description="method and route, or a command; never a path")
    objects: list[str] = Field(
        description="ids in the path and of what was made; of a space or composition, which have "
        "names only, `space_` or `composition_` and a hash"
    )
    outcome: str = Field(description="done: what is refused or fails changes nothing")
    request_id: str | None = Field(description="the answer's X-Request-Id; null of a command")

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of an entry's row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})
