"""The model repository extension over REST: what is there, and loading and unloading by request.

Routes of the application; the work is the editor's. Source: Triton's `model_repository` extension, whose load and
unload answer without a body; KServe's clients want to read the model's name and what became of it there.
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from headrace.errors import BadRequest
from server import v2
from server.dataplane import DataPlane
from server.load_request import read_load, read_unload
from server.pool.editor import Editor
from server.rest.body import whole_body
from server.rest.json_response import Json

_LOAD_DOC: dict[str, Any] = {
    "requestBody": {
        "description": "`config`: Triton's ModelConfig as a JSON string, instead of the configuration file. "
        "`file:PATH`: base64 content of a file below the model's folder, which is served instead of the repository's.",
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"parameters": {"type": "object"}}}}
        },
    }
}
_NAME = Path(description="Name of the model.")
_INDEX_BYTES = 1 << 16


def repository_routes(plane: DataPlane, editor: Editor, max_body_bytes: int) -> APIRouter:
    """The routes over one data plane."""
    router = APIRouter(tags=["repository"], default_response_class=Json)

    @router.post("/v2/repository/index", summary="Every model version and its state")
    @router.post("/v2/repository/{repository}/index", include_in_schema=False)
    async def index(request: Request, repository: str = "") -> Response:
        ready = (await _document(request, _INDEX_BYTES)).get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest('the body of an index request is {"ready": true or false}, or empty')
        return Json(v2.repository_index(plane, ready=ready))

    @router.post(
        "/v2/repository/models/{model}/load", summary="Load a model, or load it again", openapi_extra=_LOAD_DOC
    )
    @router.post("/v2/repository/{repository}/models/{model}/load", include_in_schema=False)
    async def load(request: Request, model: str = _NAME, repository: str = "") -> Response:
        config, files = read_load(_parameters(await _document(request, max_body_bytes)))
        await editor.load(model, config, files)
        return Json({"name": model, "load": True})

    @router.post("/v2/repository/models/{model}/unload", summary="Unload a model")
    @router.post("/v2/repository/{repository}/models/{model}/unload", include_in_schema=False)
    async def unload(request: Request, model: str = _NAME, repository: str = "") -> Response:
        read_unload(_parameters(await _document(request, _INDEX_BYTES)))
        await editor.unload(model)
        return Json({"name": model, "unload": True})

    return router


async def _document(request: Request, limit: int) -> dict[str, Any]:
    """The object in the body, which may be empty."""
    body = await whole_body(request.receive, limit)
    if not body.strip():
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body of a repository request is empty or JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest("the body of a repository request is empty or a JSON object")
    return document


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest("`parameters` of a repository request is a JSON object")
    return parameters
