"""The options of `headrace loadtest`, and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from loadtest.load import Rhythm

RHYTHMS: tuple[Rhythm, ...] = get_args(Rhythm)

Url = Annotated[
    list[str],
    typer.Argument(
        metavar="URL | compare A.json B.json",
        help="The server: http://host:8000 or grpc://host:8001. Or two files that --out has written.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", metavar="NAME[/VERSION][=WEIGHT]", help="Models to ask; all alike, if none is named."
    ),
]
Protocol = Annotated[
    str, typer.Option("--protocol", metavar="v2|v1", help="v1: TensorFlow Serving's REST, which KServe calls V1.")
]
Bodies = Annotated[
    list[Path] | None,
    typer.Option("--body", metavar="FILE", help="POST this to the URL, whatever the server is; of .jsonl each line."),
]
HeaderOf = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="With every request; gRPC metadata.")
]
Gzip = Annotated[bool, typer.Option("--gzip", help="Pack the requests, and let answers be packed.")]
Stream = Annotated[bool, typer.Option("--stream", help="Over gRPC: ModelStreamInfer, a stream per connection.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="[MODEL=]FILE", help="Inputs: .npz, .npy, .jsonl or a folder of pictures."),
]
Rate = Annotated[
    str,
    typer.Option(
        "--rate",
        metavar="RATES",
        help="Requests/s, whatever is answered: 500, 100..1000 (a ramp), 100:10s,1000:5s,100 (steps), @FILE (times).",
    ),
]
RhythmOf = Annotated[str, typer.Option("--rhythm", help=f"Of --rate: {', '.join(RHYTHMS)}.")]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Connections of a closed loop.")]
Sweep = Annotated[str, typer.Option("--sweep", metavar="1,2,4,8", help="A run for each so many connections.")]
FindMax = Annotated[
    str, typer.Option("--find-max", metavar="CRITERIA", help="The highest rate that holds, as p99<50ms,errors==0.")
]
Seconds = Annotated[float, typer.Option("--duration", "-d", min=0.1, metavar="SECONDS", help="Of each run.")]
WarmUp = Annotated[float, typer.Option("--warm-up", min=0, metavar="SECONDS", help="Before each run, not counted.")]
Stable = Annotated[
    str,
    typer.Option("--stable", metavar="5%", help="End earlier: when rate and latencies are known so well, with 95 %."),
]
Window = Annotated[float, typer.Option("--window", min=0.05, metavar="SECONDS", help="Of which intervals are made.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For one request.")]
ShapeOf = Annotated[
    list[str] | None, typer.Option("--shape", metavar="INPUT=8..64", help="Lengths of free axes; 24~0.8 is lognormal.")
]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Length of a free first axis.")]
Distinct = Annotated[
    int | None, typer.Option("--distinct", min=1, help="Different inputs per model; 16, or all in a file.")
]
Json = Annotated[bool, typer.Option("--json-tensors", help="Tensors as JSON, not binary.")]
CheckIt = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="first|[MODEL=]FILE",
        help="Answers must be as the first to the same input, as in a file (.npz, .npy, .jsonl), or as a model.onnx's.",
    ),
]
Relative = Annotated[float, typer.Option("--rtol", min=0, help="Of --check: relative tolerance.")]
Absolute = Annotated[float, typer.Option("--atol", min=0, help="Of --check: absolute tolerance.")]
Assert = Annotated[
    list[str] | None, typer.Option("--assert", metavar="CRITERIA", help="Exit with 1 if it does not hold: p99<20ms.")
]
Versus = Annotated[
    str,
    typer.Option("--versus", metavar="URL", help="A second server, asked in turns: which is faster?"),
]
Rounds = Annotated[int, typer.Option("--rounds", min=4, help="Runs of each with --versus.")]
Metrics = Annotated[
    str, typer.Option("--metrics", metavar="URL", help="Prometheus metrics of the server; over HTTP its /metrics.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that send.")]
Seed = Annotated[int, typer.Option("--seed", help="Of inputs and times.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the findings as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write the verdicts as JUnit's XML.")]
