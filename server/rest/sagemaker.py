"""SageMaker's `/invocations` over the same data plane; its `/ping` is with the rest of health, in door.py.

SageMaker passes on the content type and its own headers, no others. So where V2 says in a header how long the JSON part
of a binary body is, the content type says it here, as in Triton's container. There is no model in the address:
it is `default_model`, or the only one in the repository.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from headrace.errors import BadRequest
from server.dataplane import DataPlane
from server.rest.answers import Reply
from server.rest.asgi_infer import AsgiInfer, response
from server.rest.openapi import INFER_DOC

BINARY = b"application/vnd.sagemaker-triton.binary+json"
_SIZE = b"json-header-size="
_LENGTH = b"inference-header-content-length"

Headers = list[tuple[bytes, bytes]]


def sagemaker_routes(infer: AsgiInfer, default_model: str | None) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["sagemaker"])

    @router.post("/invocations", summary="SageMaker: inference by the default model", openapi_extra=INFER_DOC)
    async def invocations(request: Request) -> Response:
        try:
            model = default_model or only_model(infer.plane)
            headers = as_v2(request.scope["headers"])
        except BadRequest as error:
            return response(infer.refused(error))
        return response(as_sagemaker(await infer.answer(headers, request.receive, model)))

    return router


def only_model(plane: DataPlane) -> str:
    """The one that is meant where none is named. Raises BadRequest if there is not exactly one."""
    names = sorted({row.name for row in plane.models.index()})
    if len(names) != 1:
        raise BadRequest(
            "/invocations asks the only model, or the one that default_model names (HEADRACE_DEFAULT_MODEL);"
            f" it is not set, and there are {len(names)}: {', '.join(names[:10])}"
        )
    return names[0]


def as_v2(headers: Headers) -> Headers:
    """The headers as a V2 client would have sent them. Raises BadRequest if the content type has no length."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    media, _, parameters = content_type.partition(b";")
    if media.strip().lower() != BINARY:
        return headers
    sizes = [part.strip()[len(_SIZE) :] for part in parameters.split(b";") if part.strip().startswith(_SIZE)]
    if not sizes:
        raise BadRequest(f"content-type {BINARY.decode()} needs ;{_SIZE.decode()}N, the bytes of the JSON part")
    others = [each for each in headers if each[0] not in (b"content-type", _LENGTH)]
    return [*others, (b"content-type", b"application/octet-stream"), (_LENGTH, sizes[0])]


def as_sagemaker(answer: Reply) -> Reply:
    """The length of the JSON part moves into the content type."""
    length = dict(answer.extra).get(_LENGTH)
    if length is None:
        return answer
    extra = tuple(each for each in answer.extra if each[0] != _LENGTH)
    return Reply(answer.status, answer.body, b"%b;%b%b" % (BINARY, _SIZE, length), extra)
