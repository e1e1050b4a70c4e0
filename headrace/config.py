"""Configuration: what the operator may set, checked once when it is made.

`ServerConfig` is the server's (flags, `HEADRACE_...`, file), `ModelConfig` a model's (`config.yaml` beside it). Both
are frozen; code receives the small object it needs, never the whole. Units stand in the names; the properties
convert to seconds once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from headrace.batching import BatchingLimits
from headrace.frozen import Frozen
from headrace.repositories import Url, repository
from headrace.sharding import Device, Sharding
from headrace.traffic import Traffic, VersionLabels, check_traffic


def _number(value: Any) -> Any:
    """Flags and variables are text."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Instances(Frozen):
    """On what a version runs, how many sessions of it a replica holds, and the threads of each."""

    device: Device | None = Field(
        None,
        description="cpu, cuda:1, ...: where all sessions compute, by the execution providers that are asked for or the"
        " device's own. Not set: the first device of the best provider. Several devices: docs/sharding.md.",
    )
    count: int = Field(1, ge=1, le=64, description="Sessions per replica.")
    threads: Annotated[int, Field(ge=0, le=1024)] | Literal["elastic"] = Field(
        0,
        description="Intra-op threads per session; 0 divides the usable cores among all sessions; elastic: the same,"
        " and a second session with a thread on every core, for runs beside which no replica runs anything (CPU, one"
        " session per replica).",
    )
    runs: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto",
        description="Batches that a session may run at once; how many of them are worth it is learnt. auto: 4 on CUDA,"
        " 2 where a session has more than one thread, else 1; 1 with controller timer.",
    )


class Provider(Frozen):
    """One ONNX Runtime execution provider by short name (`cuda`) or full name, with its own options."""

    name: str
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class Latest(Frozen):
    """Serve the `latest` highest version numbers."""

    latest: int = Field(1, ge=1)


class Tolerance(Frozen):
    """How far a value may lie from what it was: at most `absolute` + `relative` x its size then."""

    absolute: float = Field(0.0, ge=0, description="Difference that is always allowed.")
    relative: float = Field(0.0, ge=0, description="Share of the old value that it may differ by in addition.")


class SafeReload(Frozen):
    """What a new version must do before and after it takes the place of an old one. Nothing, unless it is said here."""

    requests: int = Field(
        0, ge=0, le=10_000, description="Real requests, the last ones of each replica, that it must answer first."
    )
    max_request_bytes: int = Field(
        16 << 20, ge=1, description="Memory for these requests and their answers, per replica."
    )
    tolerance: Tolerance | None = Field(
        None,
        description="How far its answers may lie from the old ones; without it values are not compared, but for NaN.",
    )
    max_slowdown: float | None = Field(
        None, gt=0, description="How many times as long as the old version it may take, in the median of the requests."
    )
    watch_s: float = Field(
        0.0, ge=0, le=86_400, description="How long the old version is kept, ready to take over again; 0: not at all."
    )
    max_error_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of its requests that may fail in the model meanwhile; if more do, the old one takes over.",
    )
    min_requests: int = Field(10, ge=1, description="Requests before the share of failures counts.")


class ModelConfig(Frozen):
    """Everything `config.yaml` may say about one model. All of it is optional."""

    batching: BatchingLimits = BatchingLimits()
    instances: Instances = Instances()
    execution_providers: tuple[Provider | str, ...] = Field(
        (), description="In order of preference; empty: the best that is installed. One named and missing is an error."
    )
    placement: Literal["auto", "inline", "shared"] = Field(
        "auto",
        description="Where the model runs. inline: in every replica; shared: in an engine, a process that gathers the"
        " batches of all replicas, and whose death no other model notices; auto: shared on a GPU that several replicas"
        " use, else inline.",
    )
    versions: Latest | Literal["all"] | tuple[int, ...] = Field(
        Latest(), description="Which versions to serve: {latest: N}, all, or a list of version numbers."
    )
    version_labels: VersionLabels = Field(
        default_factory=dict, description="Label -> version. A label stands for its version wherever one is named."
    )
    traffic: Traffic = Field(
        default_factory=dict,
        description="Label or version -> percent (`5`, `5%`) of the requests that name no version; what is left goes to"
        " `stable`, else to the highest other version. Empty: the highest version gets all.",
    )
    sticky: Literal["none", "request_id"] = Field(
        "none", description="request_id: of those, requests with the same id go to the same version."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Output name -> file beside the model with one class label per line."
    )
    safe_reload: SafeReload = SafeReload()
    sharding: Sharding | None = Field(None, description="Stages of the model on several devices (docs/sharding.md).")

    @field_validator("sharding")
    @classmethod
    def _one_place(cls, sharding: Sharding | None, info: ValidationInfo) -> Sharding | None:
        instances = info.data.get("instances")
        if sharding is not None and instances is not None and instances.device is not None:
            raise PydanticCustomError("sharding", "no instances.device beside it: stages have devices of their own")
        return sharding

    @field_validator("traffic")
    @classmethod
    def _targets_and_sum(cls, shares: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if "version_labels" in info.data:  # else they are wrong themselves, and that is said
            check_traffic(shares, info.data["version_labels"])
        return shares


class ServerConfig(Frozen):
    """Everything `headrace serve` may be told. Each field is a flag, a `HEADRACE_` variable and a key of the file."""

    # The URL first: in JSON, on the way to a replica, any text would do as a path.
    model_repository: tuple[Annotated[Url | Path, AfterValidator(repository)], ...] = Field(
        (), description="Folders or URLs (s3://, gs://, az://, https://, ...) of models: NAME/VERSION/model.onnx."
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")
    http_port: int = Field(8000, ge=0, le=65535, description="REST port; 0 picks a free one.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="gRPC port; 0 picks a free one.")
    grpc_tls_certificate: Path | None = Field(
        None, description="File with the certificate chain (PEM) of the gRPC port, which then speaks TLS only."
    )
    grpc_tls_key: Path | None = Field(None, description="File with its private key (PEM, without a password).")
    grpc_max_connection_age_s: float | None = Field(
        None,
        gt=0,
        description="How old a gRPC connection may become before its client is told to open another one, so that new"
        " replicas get their share; calls under way are finished. Not set: as old as it likes.",
    )
    replicas: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Server processes; auto: one per usable core, rounded up, as far as the memory limit allows.",
    )
    model_control_mode: Literal["poll", "explicit", "none"] = Field(
        "none", description="poll: follow the folders; explicit: --load-model, and on request; none: load all at start."
    )
    repository_poll_s: float = Field(
        15.0, gt=0, description="Time between two listings of a remote repository in poll mode; folders are watched."
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder for what can be made or fetched again: optimised models, copies of remote repositories.",
    )
    load_model: tuple[str, ...] = Field((), description="Models to load at start in explicit mode; '*' is all.")
    default_model: str | None = Field(
        None, description="Model that POST /invocations asks (SageMaker); not set: the only one that there is."
    )
    lazy: bool = Field(False, description="true: load a model when the first request for it comes, not at start.")
    max_loaded_models: int | None = Field(
        None,
        ge=1,
        description="Most models loaded at once. The others are loaded on request; the least recently used makes room.",
    )
    max_loaded_bytes: int | None = Field(
        None,
        ge=1,
        description="Most bytes of models loaded at once, as max_loaded_models. What counts is the size of all files in"
        " the folders of the versions that are served, once per server: replicas hold the same.",
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    refuse_status: Annotated[Literal[503, 429], BeforeValidator(_number)] = Field(
        503,
        description="HTTP status of requests that are refused for want of time or room, with Retry-After: 503 Service"
        " Unavailable, or 429 Too Many Requests where a proxy takes a 503 for a server that is down.",
    )
    max_body_bytes: int = Field(64 << 20, ge=1024, description="Largest request, before and after decompression.")
    drain_lag_s: float = Field(
        0.0,
        ge=0,
        description="How long after SIGTERM the server still accepts while ready says no, so that load balancers turn"
        " away first.",
    )
    drain_grace_s: float = Field(
        30.0, ge=0, description="Longest wait for accepted requests after SIGTERM and drain_lag_s."
    )
    straggler_timeout_s: float = Field(
        300.0,
        gt=0,
        description="Once a replica has loaded a version, how long the others may take before none serves it.",
    )
    receive_timeout_s: float = Field(60.0, gt=0, description="Longest a request may take to arrive, head and body.")
    keep_alive_s: float = Field(75.0, gt=0, description="Idle time after which a connection is closed.")
    cache_max_bytes: int = Field(
        10 << 30,
        ge=0,
        description="Most bytes of optimised models, of which the least recently used go first; 0: none are kept.",
    )

    @property
    def models_sleep(self) -> bool:
        """Whether a model that is wanted may be asleep until somebody asks for it."""
        return self.lazy or self.max_loaded_models is not None or self.max_loaded_bytes is not None
