"""The one shape of every error answer: `application/problem+json` after RFC 9457."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"


class ProblemError(BaseModel):
    """One invalid place in the request."""

    pointer: str = Field(description="JSON pointer into the body, or `#query/limit`, `#header/…`")
    detail: str


class ProblemOut(BaseModel):
    """An error: the fault, its place and its remedy; programs should rely on `code`."""

    model_config = ConfigDict(
        extra="allow",
        title="Problem",
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not found",
                "status": 404,
                "detail": "no component cmp_0190 exists: GET /v1/components lists those that do",
                "instance": "/v1/components/cmp_0190",
                "code": "component_not_found",
                "request_id": "req_3f6d2c",
            }
        },
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="stable name of the error, for programs")
    request_id: str
    errors: list[ProblemError] | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses` in OpenAPI for these statuses."""
    return {
        status: {
            "description": "Problem",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
