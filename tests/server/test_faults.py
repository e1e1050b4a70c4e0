"""Which error is which status: written out a second time, so that no change goes unnoticed."""

import grpc
import pytest

from headrace import errors
from server.faults import fault

TABLE = {
    errors.BadRequest: (400, grpc.StatusCode.INVALID_ARGUMENT),
    errors.TooLarge: (413, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.UnsupportedMedia: (415, grpc.StatusCode.INVALID_ARGUMENT),
    errors.NotSupported: (501, grpc.StatusCode.UNIMPLEMENTED),
    errors.ModelNotFound: (404, grpc.StatusCode.NOT_FOUND),
    errors.ModelNotReady: (503, grpc.StatusCode.UNAVAILABLE),
    errors.QueueFull: (503, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.WouldBeLate: (503, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.DeadlineExceeded: (504, grpc.StatusCode.DEADLINE_EXCEEDED),
    errors.Cancelled: (499, grpc.StatusCode.CANCELLED),
    errors.ExecutorFailed: (500, grpc.StatusCode.INTERNAL),
    errors.OutOfMemory: (503, grpc.StatusCode.RESOURCE_EXHAUSTED),
    errors.LoadFailed: (400, grpc.StatusCode.INVALID_ARGUMENT),
    errors.RepositoryError: (400, grpc.StatusCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_error_has_its_status_in_both_protocols(kind):
    http, code = TABLE[kind]
    assert fault(kind("why")).http == http
    assert fault(kind("why")).grpc == code.value[0]


def test_every_error_that_can_end_a_request_is_in_the_table():
    named = {kind.slug for kind in TABLE}
    assert set(errors.SLUGS) == named | {errors.ServingError.slug}


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), errors.ServingError("unnamed")])
def test_whatever_else_is_raised_is_internal(error):
    assert (fault(error).http, fault(error).grpc) == (500, grpc.StatusCode.INTERNAL.value[0])
