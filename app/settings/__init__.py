"""Every setting of the service, in one frozen class."""

from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL

from app.settings import environment
from app.settings.addresses import (
    FAULT_OF,
    fault_of_host,
    fault_of_origin,
    fault_of_prefix,
    is_loopback,
    listed,
    sqlalchemy_url,
)
from app.settings.environment import SECRET as SECRET
from app.settings.environment import SERVICE_LINK
from app.settings.environment import BadSettings as BadSettings
from app.settings.environment import environment_with as environment_with
from app.settings.limits import MAX_SECONDS
from app.settings.workers import OfWorkers

SHARED = (  # bounds of the whole service, of which each API process has an equal share
    *("max_connections", "max_connections_per_address", "max_event_streams"),
    *("max_concurrent_uploads", "max_concurrent_predictions", "max_waiting_predictions"),
)


class Settings(OfWorkers):
    """Read from `TANGENT_<NAME>` variables; every field is a row of docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix=environment.PREFIX, frozen=True, extra="forbid", allow_inf_nan=False
    )

    host: str = Field(
        "127.0.0.1", description="address to listen on; any address but loopback needs an API key"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free port")
    allowed_hosts: str | None = Field(
        None,
        description="names besides its own that the service is reached by, with commas; * for any "
        "needs a key, and is the default with one",
    )
    allowed_origins: str | None = Field(
        None,
        description="origins whose pages may use the service from browsers (CORS), with commas",
    )
    root_path: str | None = Field(
        None,
        description="path below which a proxy has the service, such as /tangent; the proxy may "
        "take it away or leave it",
    )
    api_key: str | None = Field(
        None,
        min_length=8,
        repr=False,
        description="a key with scope admin, sent as a Bearer token; makes the first other keys; "
        "one of less than 32 random characters waits while its address sends wrong keys",
    )
    open_metrics: bool = Field(
        True, description="whether /metrics is shown to those without a key, where there is one"
    )
    open_docs: bool = Field(
        True, description="whether /docs, /redoc and /openapi.json are, where there is a key"
    )
    data_dir: Path = Field(
        Path("data"), description="folder for the SQLite file, the blobs and scratch files"
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of a Postgres database; without it, SQLite in the data folder",
    )
    database_timeout_seconds: float = Field(
        5.0,
        gt=0,
        le=MAX_SECONDS,
        description="longest wait of a request for a connection or lock of the database; a "
        "statement may run twice as long",
    )
    receipt_key_file: Path | None = Field(
        None,
        description="PEM file with the Ed25519 key that signs receipts; closed to other users",
    )
    backbone: str = Field(
        "resnet_micro_32", description="backbone of the default space, see backbones.md"
    )
    scope: str = Field("head2toe", description="scope of the default space")
    weights_dir: Path | None = Field(
        None,
        description="folder with weights that new spaces may be opened from, see backbones.md; "
        "without it, only shipped backbones and those of timm and the hub",
    )
    space_cards: Literal["public", "all", "none"] = Field(
        "public",
        description="spaces whose card, with the backbone's weights, keys with scope read may "
        "download: those of shipped weights and timm's; all, with weights of your own; or none",
    )
    device: str = Field(
        "auto", description="torch device for answers and training: auto, cpu, cuda, cuda:1 …"
    )
    precision: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32",
        description="number format of answers; auto: bfloat16 where this machine is faster in it; "
        "training always uses float32; see precision.md",
    )
    tf32: Literal["off", "on"] = Field(
        "off", description="whether a GPU may round float32 to TF32, in answers and trainings"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="faster answers and training steps: auto on a GPU only; on; off"
    )
    engine: Literal["process", "inline"] = Field(
        "process", description="where answers are computed: in their own process or the service's"
    )
    api_processes: int = Field(
        1, ge=1, le=64, description="processes that answer HTTP, on one engine; see sizing.md"
    )
    threads: int = Field(0, ge=0, le=1024, description="torch threads per process; 0: its choice")
    composition_bytes: int = Field(2**29, ge=0, description="bytes of composed deltas in memory")
    max_batch_size: int = Field(
        0,
        ge=0,
        description="maximum number of images in one forward pass; 0: what suits the device",
    )
    max_wait_ms: float = Field(
        0.0, ge=0, le=1e6, description="milliseconds that a batch waits for images"
    )
    max_concurrent_predictions: int = Field(
        100, ge=1, description="predictions that are made at a time"
    )
    max_waiting_predictions: int = Field(
        200, ge=1, description="predictions that wait for their turn; beyond, the answer is 429"
    )
    max_waiting_images: int = Field(
        2_048, ge=1, description="images that wait for a batch; beyond, the answer is 429"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lines of the log from this level on"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="form of the log's lines, those of worker and engine too"
    )
    access_log: bool = Field(False, description="whether each request has a line of the log")
    traces_url: str | None = Field(
        None,
        description="address that traces are sent to by OpenTelemetry (OTLP over HTTP), such as "
        "http://127.0.0.1:4318/v1/traces; needs the extra `otel`",
    )
    lease_seconds: float = Field(
        2.0, ge=0.1, le=MAX_SECONDS, description="seconds of a lease, see deletion.md"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, given: Any, info: ValidationInfo) -> Any:
        """Strip blanks; take an empty value, or the address of a Kubernetes Service, as none."""
        name = str(info.field_name)
        if not isinstance(given, str) or (name == "database_url" and given.strip()):
            return given
        text = given.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            raise ValueError("it has quotes around it, as docker's --env-file keeps them")
        if not text or (name == "port" and SERVICE_LINK.match(text)):
            return cls.model_fields[name].get_default()
        return text.strip("[]") if name == "host" else text

    @field_validator(*FAULT_OF)
    @classmethod
    def _could_work(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and (fault := FAULT_OF[str(info.field_name)](value)):
            raise ValueError(fault)
        return value

    @field_validator("root_path")
    @classmethod
    def _is_a_prefix(cls, value: str | None) -> str | None:
        path = (value or "").rstrip("/")
        if path and (why := fault_of_prefix(path)):
            raise ValueError(why)
        return path or None

    @field_validator("allowed_hosts", "allowed_origins")
    @classmethod
    def _are_names(cls, value: str | None, info: ValidationInfo) -> str | None:
        fault_of = fault_of_host if info.field_name == "allowed_hosts" else fault_of_origin
        faults = [fault_of(each) for each in sorted(listed(value) - {"*"})]
        if why := next(filter(None, faults), None):
            raise ValueError(why)
        return value

    @field_validator("data_dir", "receipt_key_file", "weights_dir")
    @classmethod
    def _in_a_home(cls, value: Path | None) -> Path | None:
        try:
            return value and value.expanduser()
        except RuntimeError:
            raise ValueError("there is no such user's home folder: write the whole path") from None

    @model_validator(mode="after")
    def _open_address_needs_a_key(self) -> Self:
        if not is_loopback(self.host) and not self.api_key:
            raise ValueError(
                f"host {self.host} is reachable from other machines: set TANGENT_API_KEY, "
                "or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _any_host_needs_a_key(self) -> Self:
        if "*" in listed(self.allowed_hosts) and not self.api_key:
            raise ValueError(
                "TANGENT_ALLOWED_HOSTS is *: without a key, any web page could then reach the "
                "service under a name of its own: set TANGENT_API_KEY, or list the names"
            )
        if "*" in listed(self.allowed_origins):
            raise ValueError("TANGENT_ALLOWED_ORIGINS is *: list the origins of the pages")
        return self

    @model_validator(mode="after")
    def _processes_share_an_engine(self) -> Self:
        if self.api_processes > 1 and self.engine == "inline":
            raise ValueError(
                f"TANGENT_API_PROCESSES is {self.api_processes} and TANGENT_ENGINE is inline: "
                "several processes share an engine of its own process; leave TANGENT_ENGINE out"
            )
        return self

    @cached_property
    def share(self) -> Self:
        """The settings with one API process's share of what bounds all of them together."""
        shares = {name: ceil(getattr(self, name) / self.api_processes) for name in SHARED}
        return self.model_copy(update=shares)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The names besides loopback ones that requests may come by; `*` for all."""
        default = {"*"} if self.api_key and not self.allowed_hosts else set()
        return frozenset({*listed(self.allowed_hosts), self.host.lower(), *default})

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins that may use the service from a browser."""
        return listed(self.allowed_origins)

    @property
    def prefix(self) -> str:
        """The path before the service's own paths in its addresses, or none."""
        return self.root_path or ""

    @property
    def sql_url(self) -> str:
        """The database's SQLAlchemy URL; Postgres through psycopg 3."""
        if self.database_url is None:
            file = (self.data_dir / "tangent.db").absolute()
            return URL.create("sqlite", database=str(file)).render_as_string()
        return sqlalchemy_url(self.database_url)


def read(**flags: Any) -> Settings:
    """Return the settings of the environment, overridden by the flags that are not None.

    Raises:
        BadSettings: names every wrong flag or variable, and says why it is wrong.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    return environment.read_as(Settings, given)


def remarks() -> list[str]:
    """Return a sentence for each variable that has no effect, though somebody has set it."""
    return environment.remarks(Settings.model_fields)
