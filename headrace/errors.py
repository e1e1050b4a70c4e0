"""Every way a request or a model can fail that a client may hear about, in transport-free words.

A `ServingError` carries a stable `slug` (metrics, logs) and a sentence fit for the client: it names the thing, what was
expected and what was found. `server/faults.py` is the only place that turns one into an HTTP status or a gRPC code.
Bugs are not ServingErrors: they are plain exceptions, logged with their traceback and answered as "internal".

    bytes -> decode -> InferRequest -> validate -> queue -> batch -> run -> encode -> bytes
       BadRequest, TooLarge,    ModelNotFound,  QueueFull,      ExecutorFailed, OutOfMemory
       UnsupportedMedia         ModelNotReady   WouldBeLate, DeadlineExceeded, Cancelled
"""

from __future__ import annotations

from typing import ClassVar


class ServingError(Exception):
    """Base of all errors with a message for the client. `str(error)` is that message, whole."""

    slug: ClassVar[str] = "internal"


class BadRequest(ServingError):
    """The request can never succeed as it is: malformed, or not what the model takes."""

    slug = "bad_request"


class TooLarge(ServingError):
    """The request is larger than a configured limit."""

    slug = "too_large"


class UnsupportedMedia(ServingError):
    """The body comes in a content type or coding that is not spoken here."""

    slug = "unsupported_media"


class NotSupported(ServingError):
    """The protocol has this call, this server does not (yet)."""

    slug = "not_supported"


class ModelNotFound(ServingError):
    """No model, or no such version of it, is in the repository."""

    slug = "model_not_found"


class ModelNotReady(ServingError):
    """The model is in the repository and cannot serve now: loading, failed, or going away."""

    slug = "model_not_ready"


class Overloaded(ServingError):
    """There is more to do than can be done in time; the same request may succeed `retry_after_s` later."""

    slug = "overloaded"

    def __init__(self, sentence: str, retry_after_s: float = 1.0) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class QueueFull(Overloaded):
    """The model's queue has reached `max_queue_rows` or `max_queue_bytes`."""

    slug = "queue_full"


class WouldBeLate(Overloaded):
    """The request's answer is not expected before its deadline, so it was not run."""

    slug = "would_be_late"


class DeadlineExceeded(ServingError):
    """The request's own timeout passed before it could run."""

    slug = "deadline_exceeded"


class Cancelled(ServingError):
    """The client went away before its request ran. Nobody reads this message."""

    slug = "cancelled"


class ExecutorFailed(ServingError):
    """The model's run failed for a reason that is not the request's shape or datatype."""

    slug = "executor_failed"


class OutOfMemory(ExecutorFailed):
    """There was not memory enough, on the machine or the device, for this run."""

    slug = "out_of_memory"


class LoadFailed(ServingError):
    """A model version cannot be loaded; the message is shown as the reason in the repository index."""

    slug = "load_failed"


class RepositoryError(ServingError):
    """The repository or a model's configuration file is not what it should be."""

    slug = "repository_error"


class ConfigError(ServingError):
    """The server's own configuration (flag, environment or file) is not valid. Seen by the operator, not by clients."""

    slug = "config_error"


_ENDINGS: tuple[type[ServingError], ...] = (
    ServingError,
    BadRequest,
    TooLarge,
    UnsupportedMedia,
    NotSupported,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
    DeadlineExceeded,
    Cancelled,
    ExecutorFailed,
    LoadFailed,
    RepositoryError,
    OutOfMemory,
    WouldBeLate,
)
SLUGS: tuple[str, ...] = tuple(kind.slug for kind in _ENDINGS)
"""Slugs that can end a request, in the order in which the counters keep them."""
BY_SLUG: dict[str, type[ServingError]] = {kind.slug: kind for kind in _ENDINGS}
