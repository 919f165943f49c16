"""Headers that tell a browser what it must not do with an answer."""

import base64
import hashlib
import re
from collections.abc import Mapping

from starlette.types import Message, Scope, Send

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
OWN_PAGES_ONLY = (b"cross-origin-resource-policy", b"same-origin")
NOTHING = b"default-src 'none'; frame-ancestors 'none'"
# The page at `/` has files of its own only, and makes images of what users drop.
PAGE = (
    b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'; connect-src 'self'"
)
# The pages of the documentation load their files from here, and style elements as they draw.
DOCUMENTATION = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "child-src blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
POLICY = b"content-security-policy"
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
PRIVATE = ("/v1/", "/v2/models/", "/session")


def protected(scope: Scope, send: Send) -> Send:
    """Return a `send` that adds the headers; a page of the documentation may run only its scripts.

    An answer that has a policy of its own keeps it.
    """
    held: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            given = {name.lower(): value for name, value in headers}
            headers += _added(scope, given)
            message = {**message, "headers": headers}
            if POLICY not in given:
                if given.get(b"content-type", b"").startswith(b"text/html"):
                    held.append(message)
                    return
                headers.append((POLICY, NOTHING))
        elif held:
            start = held.pop()
            start["headers"].append((POLICY, _policy(message.get("body", b""))))
            await send(start)
        await send(message)

    return sent


def _added(scope: Scope, given: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers that an answer with the given ones lacks, besides the policy."""
    added = [header for header in ALWAYS if header[0] not in given]
    if b"access-control-allow-origin" not in given:
        added.append(OWN_PAGES_ONLY)
    if b"cache-control" not in given and scope["path"].startswith(PRIVATE):
        added.append((b"cache-control", b"no-store"))
    return added


def _policy(page: bytes) -> bytes:
    hashes = [hashlib.sha256(script).digest() for script in INLINE.findall(page)]
    scripts = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in hashes)
    return DOCUMENTATION.format(scripts=scripts).encode()
