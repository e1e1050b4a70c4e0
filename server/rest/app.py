"""The FastAPI application: everything over HTTP that is not a plain infer request, and those that fell through.

Receives requests from uvicorn's cycle; documents come from `server.v2`, inference from `asgi_infer.py`. Errors
have V2's form everywhere: `{"error": "sentence"}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from headrace import __version__
from headrace.errors import NotSupported, ServingError
from server import v2
from server.dataplane import DataPlane
from server.metrics import PoolMetrics
from server.pool.editor import Editor
from server.pool.journal import Happened
from server.rest.answers import refusal
from server.rest.asgi_infer import AsgiInfer, response
from server.rest.door import LIVE, PING, READY, at_once
from server.rest.json_response import Json
from server.rest.openapi import INFER_DOC, describe_errors
from server.rest.repository import repository_routes
from server.rest.sagemaker import sagemaker_routes
from server.statistics import Statistics

NOT_YET = (
    ("POST", "/v2/models/{model}/generate", "generate"),
    ("POST", "/v2/models/{model}/generate_stream", "generate_stream"),
    ("POST", "/v2/models/{model}/versions/{version}/generate", "generate"),
    ("POST", "/v2/models/{model}/versions/{version}/generate_stream", "generate_stream"),
    ("GET", "/v2/models/{model}/trace/setting", "trace settings"),
    ("POST", "/v2/models/{model}/trace/setting", "trace settings"),
    ("GET", "/v2/trace/setting", "trace settings"),
    ("POST", "/v2/trace/setting", "trace settings"),
    ("GET", "/v2/logging", "log settings over the API"),
    ("POST", "/v2/logging", "log settings over the API"),
    ("GET", "/v2/systemsharedmemory/{rest:path}", "system shared memory"),
    ("POST", "/v2/systemsharedmemory/{rest:path}", "system shared memory"),
    ("GET", "/v2/cudasharedmemory/{rest:path}", "CUDA shared memory"),
    ("POST", "/v2/cudasharedmemory/{rest:path}", "CUDA shared memory"),
)
"""Calls of Triton's extensions that answer 501 and say so."""

MODEL = Path(description="Name of the model.")
VERSION = Path(description="Version number or label; without it the highest that is ready, or one by traffic shares.")


def make_app(
    plane: DataPlane,
    statistics: Statistics,
    metrics: PoolMetrics,
    ready: Callable[[], bool],
    editor: Editor,
    happened: Callable[[int, str], list[Happened]],
    max_body_bytes: int,
    refuse_status: int = 503,
    default_model: str | None = None,
) -> FastAPI:
    """The application over one data plane. `ready` says whether the pool is."""
    inference = AsgiInfer(plane, max_body_bytes, refuse_status)
    app = FastAPIOffline(  # FastAPI's own page takes its scripts from the Internet, where servers often have none
        title="Headrace",
        version=__version__,
        summary="Open Inference Protocol V2 over REST, with Triton's extensions.",
        default_response_class=Json,
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs/static",
    )
    _handle_errors(app, refuse_status)

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("/docs")

    @app.get("/v2", tags=["server"], summary="Server metadata")
    async def server_metadata() -> Response:
        return Json(v2.server_metadata())

    @app.get(LIVE, tags=["server"], summary="Is the process alive?")
    @app.get(READY, tags=["server"], summary="Can every model that is wanted be asked? 503 if not.")
    @app.get(PING, tags=["sagemaker"], summary="SageMaker: as /v2/health/ready, without a body")
    async def health(request: Request) -> Response:
        answer = at_once(request.url.path, ready)
        assert answer is not None
        return Response(answer.body, answer.status, {name.decode(): value.decode() for name, value in answer.headers})

    @app.get("/v2/models/stats", tags=["statistics"], summary="Statistics of all models, summed over replicas")
    async def all_statistics() -> Response:
        return Json(v2.statistics(plane, statistics))

    @app.get("/v2/models/{model}", tags=["models"], summary="Model metadata")
    @app.get("/v2/models/{model}/versions/{version}", tags=["models"], summary="Model metadata of a version")
    async def model_metadata(model: str = MODEL, version: str = "") -> Response:
        await plane.awake(model, version)
        return Json(v2.model_metadata(plane, model, version))

    @app.get("/v2/models/{model}/ready", tags=["models"], summary="Can this model be asked? 503 if not.")
    @app.get("/v2/models/{model}/versions/{version}/ready", tags=["models"], summary="Can this version be asked?")
    async def model_ready(model: str = MODEL, version: str = "") -> Response:
        is_ready = v2.model_ready(plane, model, version)
        return Json({"name": model, "ready": is_ready}, 200 if is_ready else 503)

    @app.get("/v2/models/{model}/config", tags=["models"], summary="Configuration in force, in Triton's form")
    @app.get("/v2/models/{model}/versions/{version}/config", tags=["models"], summary="Configuration of a version")
    async def model_config(model: str = MODEL, version: str = "") -> Response:
        await plane.awake(model, version)
        return Json(v2.model_config_json(plane, model, version))

    @app.get("/v2/models/{model}/stats", tags=["statistics"], summary="Statistics, summed over replicas")
    @app.get("/v2/models/{model}/versions/{version}/stats", tags=["statistics"], summary="Statistics of a version")
    async def model_statistics(model: str = MODEL, version: str = "") -> Response:
        return Json(v2.statistics(plane, statistics, model, version))

    @app.get("/v2/models/{model}/batcher", tags=["models"], summary="What a replica's batcher has learnt, and does why")
    @app.get("/v2/models/{model}/versions/{version}/batcher", tags=["models"], summary="The batcher of a version")
    async def batcher(
        model: str = MODEL,
        version: str = "",
        recording: bool = Query(False, description="The recent requests one by one, to run them again elsewhere."),
    ) -> Response:
        await plane.awake(model, version)
        document = await v2.batcher(plane, statistics.replica, model, version, recording=recording)
        return Json({**document, "replicas": metrics.replicas})

    app.include_router(repository_routes(plane, editor, max_body_bytes))
    app.include_router(sagemaker_routes(inference, default_model))

    @app.post("/v2/models/{model}/infer", tags=["inference"], summary="Inference", openapi_extra=INFER_DOC)
    @app.post(
        "/v2/models/{model}/versions/{version}/infer",
        tags=["inference"],
        summary="Inference by a version",
        openapi_extra=INFER_DOC,
    )
    async def infer(request: Request, model: str = MODEL, version: str = "") -> Response:
        return response(await inference.answer(request.scope["headers"], request.receive, model, version))

    @app.get("/v2/events", tags=["server"], summary="What has happened to models and replicas, the oldest first")
    async def events(
        since: int = Query(0, description="Only those after the one with this id."),
        model: str = Query("", description="Only those of this model."),
    ) -> Response:
        return Json({"events": [v2.event(one) for one in happened(since, model)]})

    @app.get("/metrics", tags=["statistics"], summary="Metrics for Prometheus, summed over replicas")
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for method, path, what in NOT_YET:
        app.add_api_route(path, _not_supported(what), methods=[method], include_in_schema=False)
    describe_errors(app)
    return app


def _not_supported(what: str) -> Callable[[], Any]:
    async def answer() -> Response:
        raise NotSupported(f"{what} is not supported by this server")

    return answer


def _handle_errors(app: FastAPI, refuse_status: int) -> None:
    @app.exception_handler(ServingError)
    async def serving_error(_: Request, error: Exception) -> Response:
        return response(refusal(error, refuse_status))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Json({"error": error.detail}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: Exception) -> Response:
        return Json({"error": str(error)}, 400)

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> Response:  # Starlette raises it again, for uvicorn to log
        return Json({"error": f"internal error ({type(error).__name__})"}, 500)
