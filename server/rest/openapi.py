"""What the OpenAPI page says that FastAPI cannot know: infer's bodies, which it never parses, and how errors look."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_EXAMPLE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.1, 0.2, 0.3, 0.4]}],
    "outputs": [{"name": "y", "parameters": {"classification": 2}}],
}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "examples": ["FP32"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "description": "Row-major, flat or nested; absent for binary tensors."},
        "parameters": {"type": "object", "description": "binary_data_size for binary tensors."},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object", "description": "binary_data_output, timeout (microseconds), ..."},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "description": "Which outputs, and how: parameters binary_data, classification. Absent: all.",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
_RESPONSE = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
_ERROR = {
    "description": "Why not, in one sentence.",
    "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
}

INFER_DOC: dict[str, Any] = {
    "description": "With binary tensors the body is JSON followed by the tensors' bytes; the header says where.",
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "Bytes of the JSON part, if binary tensors follow it; 0 if the body is one raw tensor.",
        },
        {
            "name": "Headrace-Sticky",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "Where versions share the traffic, requests with the same value get the same version.",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST, "example": _EXAMPLE},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "200": {"description": "The outputs.", "content": {"application/json": {"schema": _RESPONSE}}},
        **dict.fromkeys(("400", "404", "413", "415", "500", "503", "504"), _ERROR),
    },
}


def describe_errors(app: FastAPI) -> None:
    """Put errors as they are here into the document of `app` instead of FastAPI's own, when somebody asks for it."""
    make = app.openapi

    def document() -> dict[str, Any]:
        fresh = app.openapi_schema is None
        made = make()  # once: the application keeps it
        return _described(made) if fresh else made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to do this


def _described(document: dict[str, Any]) -> dict[str, Any]:
    for calls in document["paths"].values():
        for call in calls.values():
            if call["responses"].pop("422", None):
                call["responses"].setdefault("404", _ERROR)
    document.pop("components", None)
    return document
