"""Sessions of browsers: a key for a cookie, since events and images cannot send a header."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.keys import Scope
from tangent_composer.schemas.texts import Given

MAX_KEY = 4_096  # characters


class SessionIn(Given):
    """The key that begins a session."""

    model_config = ConfigDict(json_schema_extra={"example": {"key": "tc_key_0190…_9f86…"}})

    key: str = Field(
        min_length=1, max_length=MAX_KEY, description="a key of the service; it is not stored"
    )


class SessionKey(BaseModel):
    """The key that a session was begun with, and whose rights it has."""

    id: str = Field(description="id of the key, or settings for the one in TANGENT_API_KEY")
    name: str
    scopes: list[Scope]


class SessionOut(BaseModel):
    """The session of a browser, if it has one, and the key that the session is of."""

    required: bool = Field(description="whether the service answers only to those who have a key")
    authenticated: bool = Field(description="whether the browser has a session that is not over")
    key: SessionKey | None = Field(description="the key that the session has its rights from")
    csrf_token: str | None = Field(
        description="to be sent as X-CSRF-Token with every request but GET and HEAD"
    )
    expires_at: datetime | None = Field(description="time at which the session ends, in UTC")
