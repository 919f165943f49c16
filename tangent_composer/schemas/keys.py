"""API keys: the request for one, and the views of it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from tangent_composer.schemas.names import Name
from tangent_composer.schemas.numbers import NUMBER
from tangent_composer.schemas.texts import Given

Scope = Literal["read", "predict", "train", "admin"]
MAX_RATE = 1_000_000
MAX_COUNT = 2**31 - 1
MAX_BYTES = 2**63 - 1
Rate = Annotated[float, Field(gt=0, le=MAX_RATE, allow_inf_nan=False), NUMBER]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT), NUMBER]


def _in_future(time: datetime) -> datetime:
    if time <= datetime.now(UTC):
        raise ValueError("a key must expire in the future")
    return time


class KeyLimits(Given):
    """The most that a key may do and keep; null for no limit."""

    requests_per_second: Rate | None = Field(None, description="of any kind, in each API process")
    images_per_second: Rate | None = Field(
        None, description="through the network, in each API process"
    )
    max_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES), NUMBER] | None = Field(
        None, description="bytes of the datasets and components that it has made and are there"
    )
    max_datasets: Count | None = Field(None, description="that it has made and are there")
    max_components: Count | None = Field(
        None, description="that it has made, in any status, and are there"
    )
    max_queued_trainings: Count | None = Field(
        None, description="that it has begun and have not ended"
    )
    max_spaces: Count | None = Field(None, description="that it owns")
    max_compositions: Count | None = Field(None, description="that it has made and are there")
    max_evaluations: Count | None = Field(None, description="that it has made and are there")
    max_batch_predictions: Count | None = Field(None, description="that it has made and are there")
    max_concurrent_requests: Annotated[int, Field(ge=1, le=MAX_COUNT), NUMBER] | None = Field(
        None, description="open at a time, streams and downloads too, in each API process"
    )


class KeyIn(Given):
    """A key to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "camera at the gate",
                "scopes": ["predict"],
                "expires_at": "2099-01-31T09:30:00Z",
                "limits": {"images_per_second": 20},
            }
        },
    )

    name: Name = Field(description="for people; it is in no log")
    scopes: list[Scope] = Field(min_length=1, max_length=4, description="admin includes the others")
    expires_at: Annotated[AwareDatetime, AfterValidator(_in_future)] | None = Field(
        None, description="null: never"
    )
    limits: KeyLimits = Field(default_factory=KeyLimits)


class KeyOut(BaseModel):
    """A key without its secret, which is stored nowhere."""

    id: str
    name: str
    scopes: list[Scope]
    limits: KeyLimits
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to a minute or so")

    @classmethod
    def of(cls, row: Any, **more: Any) -> Self:
        """Return the view of a key's row."""
        return cls(
            id=row.id,
            name=row.name,
            scopes=row.scopes,
            limits=KeyLimits(**{name: getattr(row, name) for name in KeyLimits.model_fields}),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            **more,
        )


class CreatedKey(KeyOut):
    """A new key, with what to send; it is shown in this answer only."""

    key: str = Field(description="what to send: Authorization: Bearer <key>")
