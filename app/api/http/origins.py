"""Requests that a web page of somebody else makes: refused before anything of them is read.

A browser sends requests to a service on this machine for any page that it shows. What it adds tells
them from the user's own: the name that the page was reached by (`Host`), and whose page it is
(`Origin`, `Sec-Fetch-Site`). A name that somebody else controls may point to this machine too, so
the names are listed; and what changes something must come from no page, or from one of the service.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from app.errors import Forbidden, Malformed, Misdirected, Problem
from app.settings import Settings
from app.settings.addresses import is_loopback

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OWN_SITE = (b"same-origin", b"none")
PORTS = {"http": 80, "https": 443}
ANY = "*"
READ = (b"host", b"content-length", b"transfer-encoding", b"origin", b"sec-fetch-site")
Given = Mapping[bytes, Sequence[bytes]]


def fault(scope: Scope, settings: Settings) -> Problem | None:
    """Return the reason for refusing the request of another site's page, or None."""
    given = _given(scope)
    hosts = given.get(b"host", ())
    if len(hosts) > 1:
        return Malformed("malformed_request", "the request has two Host headers: send one")
    if b"content-length" in given and b"transfer-encoding" in given:
        return Malformed(
            "ambiguous_length",
            "the request has Content-Length and Transfer-Encoding: send one of them",
        )
    host = hosts[0].decode("latin-1") if hosts else None
    if host is not None and not allows_host(host, settings):
        return Misdirected(
            "host_not_allowed",
            f"this service is not known as {host[:100]!r}: use its own address, or add the name to "
            "TANGENT_ALLOWED_HOSTS",
        )
    if scope["method"] not in SAFE_METHODS and _is_of_another_site(given, host, settings):
        return Forbidden(
            "cross_site",
            "a web page of another site has sent this request: only the service's own pages may "
            "change something; TANGENT_ALLOWED_ORIGINS lists others",
        )
    return None


def allows_host(host: str, settings: Settings) -> bool:
    """Return whether the service answers under this name, given as `name` or `name:port`."""
    if ANY in settings.hosts:
        return True
    name = _name_of(host)
    if name is None:
        return False
    # No public name is without a dot: such a one is of this machine or of its own network.
    return name in settings.hosts or is_loopback(name) or not set(name) & {".", ":"}


def allows_origin(origin: str, settings: Settings) -> bool:
    """Return whether the setting lists this origin."""
    return origin.lower() in settings.origins


def origin_of(scope: Scope) -> str | None:
    """Return the origin of the page that makes the request, or None."""
    values = [value for name, value in scope["headers"] if name == b"origin"]
    return values[0].decode("latin-1") if len(values) == 1 else None


def _is_of_another_site(given: Given, host: str | None, settings: Settings) -> bool:
    origins, sites = given.get(b"origin", ()), given.get(b"sec-fetch-site", ())
    if len(origins) > 1 or len(sites) > 1:
        return True
    origin = origins[0].decode("latin-1") if origins else None
    if origin is not None and allows_origin(origin, settings):
        return False
    if origin is not None and not _is_same(origin, host):
        return True
    return any(site.lower() not in OWN_SITE for site in sites)


def _is_same(origin: str, host: str | None) -> bool:
    """Return whether the page is of this host; a proxy may have turned https into http."""
    try:
        page = urlsplit(origin)
        port, own = page.port, urlsplit(f"{page.scheme}://{host}")
        same_port = (port or PORTS.get(page.scheme)) == (own.port or PORTS.get(page.scheme))
    except ValueError:
        return False
    same_name = bool(page.hostname) and page.hostname == own.hostname
    return page.scheme in PORTS and same_name and same_port


@lru_cache(32)
def _name_of(host: str) -> str | None:
    """Return the name without its port, lower-cased; None if it is none."""
    if any(letter in host for letter in "/@?#\\ \t"):
        return None
    try:
        found = urlsplit(f"//{host}")
        found.port  # noqa: B018  raises for a port that is none
    except ValueError:
        return None
    return found.hostname.rstrip(".") if found.hostname else None


def _given(scope: Scope) -> Given:
    """Return the values of every header that is looked at here."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in READ:
            given.setdefault(name, []).append(value)
    return given
