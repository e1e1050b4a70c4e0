"""Writes docs/configuration.md from the fields of the configuration classes: `python docs/make_reference.py`."""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path

from pydantic import BaseModel

from headrace.batching import BatchingLimits
from headrace.config import Instances, Latest, ModelConfig, Provider, ServerConfig
from headrace.repositories import Url
from headrace.sharding import Sharding

PAGE = Path(__file__).with_name("configuration.md")

_HEAD = """\
# Configuration

Made from the fields of the code by `python docs/make_reference.py`; a test fails when it is out of date.

## The server

Each option is a flag of `headrace serve` (`--http-port 8000`), a variable (`HEADRACE_HTTP_PORT=8000`) and a key of the
YAML file named by `--config` or `HEADRACE_CONFIG` (`http_port: 8000`). A flag beats the variable, the variable beats
the file, the file beats the default. Options with several values are repeated as flags, separated by spaces in a
variable, and a list in the file. Folders and URLs named without a flag (`headrace serve models s3://bucket/models`)
replace `HEADRACE_MODEL_REPOSITORY`. Unknown options and keys are errors; a variable that looks misspelt is a warning.
"""

_MODEL = """\
## A model

`config.yaml` beside the model's version folders; everything in it is optional. An example:

```yaml
batching:
  max_batch_rows: 32
  max_queue_delay_ms: 1.5
instances:
  count: 2
execution_providers: [cuda, cpu]
versions: [3, 4]
version_labels: {stable: 3, canary: 4}
traffic: {canary: 5%}
sticky: request_id
labels:
  probabilities: labels.txt
```
"""


def page() -> str:
    """The whole page."""
    return "\n".join(
        (
            _HEAD,
            _table(ServerConfig),
            _MODEL,
            _table(ModelConfig),
            "### batching\n",
            _table(BatchingLimits),
            "### instances\n",
            _table(Instances),
            "### An entry of execution_providers\n\nA name, or a mapping:\n",
            _table(Provider),
            "### versions, as {latest: N}\n",
            _table(Latest),
            "### sharding\n\nSee [sharding](sharding.md).\n",
            _table(Sharding),
        )
    )


def _table(kind: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in kind.model_fields.items():
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        rows.append(f"| `{name}` | {_type(field.annotation)} | {default} | {field.description or ''} |")
    return "\n".join(rows) + "\n"


def _type(annotation: object) -> str:  # noqa: PLR0911 - one line per kind of type
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping (below)"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path", Url: "URL"}
    return names.get(typing.cast("type", annotation), str(annotation))


def _default(value: object) -> str:
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ((), {}, "", None) else ""


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
