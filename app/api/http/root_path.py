"""The prefix of a proxy that has the service below a path of its own, `TANGENT_ROOT_PATH`.

A proxy may take the prefix away or leave it; routes never see it. What the service says about its
own addresses has it: `Location`, `instance` of a problem, and the pages of the documentation.
"""

from starlette.types import Message, Scope

PAGES = ("/docs", "/redoc", "/openapi.json")  # which write addresses from the scope's `root_path`
BARE = "tangent.bare_prefix"  # in the scope of a request for the prefix itself, without a slash


def strip(scope: Scope, prefix: str) -> None:
    """Take the prefix from the request's path, if it is there."""
    path = scope["path"]
    scope[BARE] = path == prefix
    if path == prefix or path.startswith(f"{prefix}/"):
        scope["path"] = path[len(prefix) :] or "/"
        raw = scope.get("raw_path") or b""
        if raw.startswith(prefix.encode()):
            scope["raw_path"] = raw[len(prefix) :] or b"/"
    if scope["path"].startswith(PAGES):
        scope["root_path"] = prefix


def is_bare_prefix(scope: Scope) -> bool:
    """Return whether the request is for the prefix itself, which its slash is missing from."""
    return bool(scope.get(BARE))


def add_to_location(message: Message, prefix: str) -> None:
    """Put the prefix before an address of this service in the answer's Location."""
    message["headers"] = [
        (
            name,
            prefix.encode() + value if name.lower() == b"location" and value[:1] == b"/" else value,
        )
        for name, value in message.get("headers", ())
    ]
