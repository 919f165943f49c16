"""Examples of the document: an error answer for each code that routes share, and whole objects."""

from typing import Any

from app.api.http.openapi_names import REFERENCE, operations, parts

DETAILS: dict[str, dict[str, tuple[str, str]]] = {  # status → code → title and detail
    "400": {
        "malformed_json": (
            "Malformed request",
            "the request's body is not JSON (Expecting value; character 13): check its quotes, "
            "commas and brackets",
        ),
        "malformed_request": (
            "Malformed request",
            "the form's Content-Type names no boundary between its parts: let the client library "
            "set that header, with the boundary that it chose",
        ),
    },
    "401": {
        "api_key_missing": (
            "Unauthorized",
            "this service needs an API key: send it as Authorization: Bearer <key>",
        ),
        "api_key_wrong": ("Unauthorized", "the API key is none of this service's"),
        "api_key_expired": ("Unauthorized", "the API key has expired: ask for a new one"),
        "api_key_revoked": ("Unauthorized", "the API key was revoked: ask for a new one"),
        "session_ended": (
            "Unauthorized",
            "the session of this browser is over, or its key is: send the key to POST /session, or "
            "with each request as Authorization: Bearer <key>",
        ),
    },
    "403": {
        "csrf_token_missing": (
            "Forbidden",
            "a change by a browser's session needs more than its cookie: send X-CSRF-Token with "
            "the csrf_token of GET /session",
        ),
        "csrf_token_wrong": (
            "Forbidden",
            "X-CSRF-Token is not this session's: send X-CSRF-Token with the csrf_token of GET "
            "/session",
        ),
        "scope_missing": (
            "Forbidden",
            "key key_0190 has scope read and this route needs train: ask an administrator for a "
            "key with it",
        ),
        "quota_exceeded": (
            "Forbidden",
            "key key_0190 may have 10 datasets and has them: delete one, or ask for a higher limit",
        ),
    },
    "404": {
        "component_not_found": (
            "Not found",
            "no component 'cmp_0190': GET /v1/components lists those there are",
        ),
        "route_not_found": ("Not Found", "no route /v1/modles: /docs lists the routes"),
    },
    "409": {
        "no_components": (
            "Conflict",
            "space 'default' has no ready component: train one, or name those of another space",
        ),
        "dataset_in_use": (
            "Conflict",
            "components cmp_0190 were trained from this dataset: send cascade=true to delete them "
            "too",
        ),
    },
    "410": {
        "component_deleted": (
            "Deleted",
            "component cmp_0190 was deleted: receipt rcpt_0190 says what went",
        ),
    },
    "412": {
        "composition_changed": (
            "Version does not match",
            "composition 'all-sites' is at another version by now: read it again",
        ),
    },
    "413": {
        "request_too_large": (
            "Too large",
            "the request's body is larger than the 67108864 bytes allowed here: send less at a "
            "time; GET /v1/limits shows every limit that is a setting",
        ),
    },
    "415": {
        "unsupported_media_type": (
            "Unsupported media type",
            "this route reads a file, and got application/zip: send multipart/form-data with "
            "file=<file>, as curl -F file=@name does",
        ),
    },
    "416": {
        "range_not_satisfiable": (
            "Range not satisfiable",
            "the file has 1048576 bytes, and Range asks for others",
        ),
    },
    "422": {
        "invalid_request": (
            "Invalid",
            "the request does not fit this route's schema: /top_k: Input should be less than or "
            "equal to 1000",
        ),
    },
    "429": {
        "rate_limited": ("Too many requests", "key key_0190 may send 60 requests a minute: wait"),
        "queue_full": (
            "Too many requests",
            "2048 images wait for a forward pass, which is the most: try again later",
        ),
    },
    "503": {
        "database_busy": (
            "Not ready",
            "the database did not answer within 5 s: nothing was changed, try again",
        ),
        "service_ending": (
            "Not ready",
            "the service ended before this request was done: look whether it took place, and try "
            "again; a repetition with the same Idempotency-Key creates nothing twice",
        ),
    },
    "507": {
        "disk_full": ("Disk full", "no room left for this dataset: try again when there is some"),
    },
}
FORM = "multipart/form-data"
PREFILLED = {"seed": 0, "abstain_above": 1, "abstain_below": 0}  # which change nothing
NULL = {"type": "null"}


def add_examples(made: dict[str, Any]) -> None:
    """Add an example for each code to the document."""
    made["components"]["examples"] = {
        code: {"summary": code, "value": _example(int(status), code, title, detail)}
        for status, codes in DETAILS.items()
        for code, (title, detail) in codes.items()
    }


def examples_of(status: str) -> dict[str, Any]:
    """Return the member of a media type that has the examples of a status."""
    if status not in DETAILS:
        return {}
    return {
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in DETAILS[status]}
    }


def prefill(made: dict[str, Any]) -> None:
    """Give the fields of forms values with which a form works as the page of the routes fills it.

    Swagger UI fills in every field, and would send "string" and the largest number. An empty field
    counts as not sent.
    """
    schemas = made["components"]["schemas"]
    forms = [schema for name, schema in schemas.items() if name.endswith("Form")]
    for operation in operations(made):
        content = operation.get("requestBody", {}).get("content", {})
        forms += [content[FORM]["schema"]] if FORM in content else []
    for form in forms:
        for name, field in form.get("properties", {}).items():
            if name not in form.get("required", ()) and "default" not in field:
                _prefill(name, field)
    # The settings of a training are filled in beside it; the page prefers a default to an example.
    train = schemas["DatasetUploadForm"]["properties"]["train"]
    del train["default"]
    train |= {"example": True, "description": f"{train['description']}; false if not sent"}


def _prefill(name: str, field: dict[str, Any]) -> None:
    if field.get("type") != "string":
        if name in PREFILLED:
            field["example"] = PREFILLED[name]
        return
    if "enum" in field:
        field["enum"] = ["", *field["enum"]]
    field.pop("minLength", None)
    if "pattern" in field:
        field["pattern"] = f"^$|{field['pattern']}"
    field["example"] = ""


def complete(schemas: dict[str, Any]) -> None:
    """Complete the schemas' examples, and give the files of forms a format.

    FastAPI leaves out of examples what is null, though an answer has it.
    """
    for schema in schemas.values():
        for part in parts(schema):
            if "contentMediaType" in part:  # by which generators do not know a file
                part["format"] = "binary"
    for schema in schemas.values():
        if "example" in schema:
            schema["example"] = _completed(schema["example"], schema, schemas)


def _completed(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return the example with the members that its schema requires."""
    if "$ref" in schema:
        return _completed(value, schemas[schema["$ref"].removeprefix(REFERENCE)], schemas)
    member = "items" if isinstance(value, list) else "$ref"
    for choice in schema.get("anyOf", ()):
        if member in choice:
            return _completed(value, choice, schemas)
    if isinstance(value, list):
        return [_completed(each, schema.get("items", {}), schemas) for each in value]
    if not isinstance(value, dict):
        return value
    members = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    value = value | {name: _default(members[name], schemas) for name in missing}
    return {name: _completed(each, members.get(name, {}), schemas) for name, each in value.items()}


def _default(member: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return the example of a member that an object's example lacks."""
    if NULL in member.get("anyOf", ()):
        return None
    if "$ref" in member:
        return schemas[member["$ref"].removeprefix(REFERENCE)].get("example", {})
    return member.get("default", [] if member.get("type") == "array" else 0)


def _example(status: int, code: str, title: str, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/v1/components/cmp_0190",
        "code": code,
        "request_id": "req_3f6d2c",
    }
