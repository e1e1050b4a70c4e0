"""From options to what is to be done: which load, which requests. Raises ValueError or TargetError with a sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from headrace.traces import read_trace
from loadtest import rates
from loadtest.client import Client
from loadtest.load import MOST_CONNECTIONS, Load
from loadtest.observed import Observer
from loadtest.options import RHYTHMS
from loadtest.predict import PredictTarget
from loadtest.rest import RestTarget
from loadtest.shot import Shots
from loadtest.shots import FIRST, Wish, models_for, raw_shots, shots_for
from loadtest.target import Target
from loadtest.tensors import Headers
from loadtest.where import Where

PROTOCOLS = ("v2", "v1")


@dataclass(frozen=True, slots=True)
class What:
    """What is asked: models by weights, or the same bodies of any server."""

    weights: Mapping[str, float]
    wish: Wish
    bodies: Sequence[tuple[Headers, bytes]] = ()
    protocol: str = "v2"
    binary: bool = True


def load(rate: str, rhythm: str, connections: int, seed: int, seconds: float) -> Load:
    """`rate` empty: a closed loop."""
    known = next((each for each in RHYTHMS if each == rhythm), None)
    if known is None:
        raise ValueError(f"--rhythm {rhythm}: expected {', '.join(RHYTHMS)}")
    if not rate:
        return Load(connections)
    most = max(connections, MOST_CONNECTIONS)
    if rate.startswith("@"):
        trace = tuple(read_trace(Path(rate[1:]), "--rate"))
        return Load(most, (len(trace) - 1) / (trace[-1] - trace[0]), trace=trace)
    spells = rates.parse(rate, seconds)
    return Load(most, rates.mean(spells, seconds), known, seed, () if rates.is_steady(spells) else spells)


def counts(sweep: str) -> list[int]:
    """`1,2,4`."""
    numbers = [text.strip() for text in sweep.split(",")]
    for text in numbers:
        if not text.isdecimal() or not int(text):
            raise ValueError(f"--sweep: expected numbers of connections such as 1,2,4, found {text!r}")
    return list(map(int, numbers))


def precision(text: str) -> float:
    """`5%`."""
    number = text.removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = 0.0
    if number == text or not 0 < share < 1:
        raise ValueError(f"--stable {text}: expected a share such as 5%")
    return share


def ready(where: Where, what: What, metrics_url: str, stack: ExitStack) -> tuple[Shots, Observer]:
    """The requests for this server, and who asks it how it was; `stack` closes what that needs."""
    if where.stream and where.scheme != "grpc":
        raise ValueError(f"--stream: {where.url} is not gRPC")
    metrics_url = metrics_url or (f"{where.url}/metrics" if where.scheme != "grpc" else "")
    if where.path or what.bodies:
        if where.scheme == "grpc":
            raise ValueError("--body: gRPC servers are asked for models, by --model and --input")
        if what.weights or what.wish.files or what.wish.expected:
            raise ValueError(f"{where.url}{where.path or ' with --body'} is asked as it is: there is no --model of it")
        with closing(Client(where)) as client:
            return raw_shots(client, what.bodies, what.wish.tolerance), Observer(None, (), metrics_url)
    target = stack.enter_context(_target(where, what))
    models = models_for(target, what.weights)
    shots = shots_for(target, models, what.weights, what.wish)
    return shots, Observer(target, list(models.values()), metrics_url)


def files(option: str, texts: Sequence[str], names: Collection[str]) -> dict[str, Path]:
    """`[MODEL=]FILE` each, by model; "" for all others. `first` is no file."""
    found = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or name not in names:
            name, file = "", text
        if name in found:
            raise ValueError(f"{option} {text}: expected one for each model")
        if file != FIRST:
            found[name] = Path(file)
    return found


def _target(where: Where, what: What) -> Target:
    if what.protocol not in PROTOCOLS:
        raise ValueError(f"--protocol {what.protocol}: expected {' or '.join(PROTOCOLS)}")
    if where.scheme == "grpc":
        if what.protocol != "v2":
            raise ValueError(f"--protocol {what.protocol}: over gRPC there is v2")
        from loadtest.rpc import RpcTarget  # noqa: PLC0415 - a second of imports, which REST does without

        return RpcTarget(where)
    return RestTarget(where, binary=what.binary) if what.protocol == "v2" else PredictTarget(where)
