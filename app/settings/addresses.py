"""Addresses, keys and devices as settings have them, and their faults.

A fault is the rest of a sentence that begins with the setting's name and value.
"""

import ipaddress
import re

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
DATABASES = (*POSTGRES, "sqlite", "sqlite+pysqlite")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s\"']+")
DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu|xla|hpu|mtia|privateuseone)(:[0-9]{1,4})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
TRACES = re.compile(r"https?://[^/?#\s\"'\ud800-\udfff]+(/[^\s\"'\ud800-\udfff]*)?", re.I)
OWN_PATHS = (
    *("v1", "v2", "docs", "redoc", "openapi.json", "static-offline-docs"),
    *("livez", "readyz", "metrics", "page", "session", "favicon.ico"),
)
WITH_PORT = re.compile(r"[^:]*:\d+|\[.*\]:\d+")
WRITE_DATABASE = "write postgresql://user:password@host:5432/name"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listener on this host name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listed(text: str | None) -> frozenset[str]:
    """Return the parts between commas, in lower case."""
    return frozenset(part.strip().lower() for part in (text or "").split(",") if part.strip())


def fault_of_host(name: str) -> str | None:
    """Return what is wrong with the name of a host."""
    if re.search(r"[/\s\"'\[\]\ud800-\udfff]", name.strip("[]")):
        return f"{name!r} is no name of a host: write the name or the address alone"
    if WITH_PORT.fullmatch(name):
        return f"{name!r} ends in a port: write the name or the address alone"
    return None


def fault_of_origin(origin: str) -> str | None:
    """Return what is wrong with an origin, as browsers send it."""
    if ORIGIN.fullmatch(origin):
        return None
    return f"{origin!r} is no origin: write it as https://example.org, without a path"


def fault_of_traces(url: str) -> str | None:
    """Return what is wrong with the address that traces are sent to."""
    if TRACES.fullmatch(url):
        return None
    return "it is no address of HTTP: write it as http://127.0.0.1:4318/v1/traces"


def fault_of_prefix(path: str) -> str | None:
    """Return what is wrong with the path below which a proxy has the service."""
    if not PREFIX.fullmatch(path):
        return "it is no path: write it as /tangent, of letters, digits and . _ ~ -"
    if path.split("/")[1] in OWN_PATHS:
        return f"the service has a path /{path.split('/')[1]} of its own: choose another name"
    return None


def fault_of_device(device: str) -> str | None:
    """Return what is wrong with the name of a device, before torch is asked whether it is there."""
    if DEVICE.fullmatch(device):
        return None
    return (
        f"torch cannot compute on a device {device!r}: use auto, cpu, or cuda on a machine with a "
        "GPU"
    )


def fault_of_key(key: str) -> str | None:
    """Return what is wrong with a key that requests carry in a header."""
    if not (key.isprintable() and key.isascii()):
        return "a header cannot hold every character of it: use ASCII letters"
    if key.lower().startswith("bearer "):
        return "it begins with Bearer, as a request's header does: leave that out"
    return None


def fault_of_database(url: str) -> str | None:
    """Return what is wrong with a database's URL."""
    how = WRITE_DATABASE
    if url.strip("\"' \n") != url:
        return f"it begins or ends with a quote or a space: {how}, without quotes"
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        return f"it is no URL of a database: {how}, with %40 for an @ in the password"
    scheme = read.drivername.lower()
    if scheme not in DATABASES:
        if scheme.startswith(("postgres+", "postgresql+")):
            driver = scheme.partition("+")[2]
            return f"its driver is {driver}, but this service uses psycopg 3: {how}"
        return f"it names a database of the kind {scheme}, and this service uses Postgres: {how}"
    if scheme in POSTGRES:
        at = "@" in (read.host or "")
        return f"its password has an @: {how}, with %40 for it" if at else None
    if (read.database or ":memory:") == ":memory:" or "mode=memory" in url:
        return (
            "it names a database in memory, which ends with the process: leave the setting out "
            "for SQLite in the data folder"
        )
    return None


def sqlalchemy_url(url: str) -> str:
    """Return a faultless URL as SQLAlchemy takes it; Postgres through psycopg 3."""
    scheme, _, rest = url.partition(":")
    return f"{'postgresql+psycopg' if scheme.lower() in POSTGRES else scheme.lower()}:{rest}"


FAULT_OF = {  # settings by their names
    "host": fault_of_host,
    "database_url": fault_of_database,
    "api_key": fault_of_key,
    "device": fault_of_device,
    "traces_url": fault_of_traces,
}
