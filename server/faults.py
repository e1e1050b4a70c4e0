"""The one table from errors to HTTP status and gRPC code. No other file knows both."""

from __future__ import annotations

import enum

from headrace import errors


class Fault(enum.Enum):
    """(HTTP status, gRPC status code number) per kind of error; numbers as in grpc's `StatusCode`."""

    BAD_REQUEST = (400, 3)  # INVALID_ARGUMENT
    NOT_FOUND = (404, 5)  # NOT_FOUND
    TOO_LARGE = (413, 8)  # RESOURCE_EXHAUSTED
    UNSUPPORTED_MEDIA = (415, 3)
    OVERLOADED = (503, 8)  # RESOURCE_EXHAUSTED
    NOT_READY = (503, 14)  # UNAVAILABLE
    TIMED_OUT = (504, 4)  # DEADLINE_EXCEEDED
    CANCELLED = (499, 1)  # CANCELLED
    NOT_SUPPORTED = (501, 12)  # UNIMPLEMENTED
    INTERNAL = (500, 13)  # INTERNAL

    @property
    def http(self) -> int:
        """HTTP status."""
        return self.value[0]

    @property
    def grpc(self) -> int:
        """Number of the gRPC status code."""
        return self.value[1]


_TABLE: dict[type[errors.ServingError], Fault] = {
    errors.BadRequest: Fault.BAD_REQUEST,
    errors.TooLarge: Fault.TOO_LARGE,
    errors.UnsupportedMedia: Fault.UNSUPPORTED_MEDIA,
    errors.NotSupported: Fault.NOT_SUPPORTED,
    errors.ModelNotFound: Fault.NOT_FOUND,
    errors.ModelNotReady: Fault.NOT_READY,
    errors.QueueFull: Fault.OVERLOADED,
    errors.WouldBeLate: Fault.OVERLOADED,
    errors.DeadlineExceeded: Fault.TIMED_OUT,
    errors.Cancelled: Fault.CANCELLED,
    errors.ExecutorFailed: Fault.INTERNAL,
    errors.OutOfMemory: Fault.OVERLOADED,
    errors.LoadFailed: Fault.BAD_REQUEST,
    errors.RepositoryError: Fault.BAD_REQUEST,
}


def fault(error: BaseException) -> Fault:
    """The fault of any exception; what is not a ServingError is ours, hence INTERNAL."""
    return _TABLE.get(type(error), Fault.INTERNAL) if isinstance(error, errors.ServingError) else Fault.INTERNAL
