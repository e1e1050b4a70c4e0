"""How evenly five known networks are cut for 2, 4 and 8 devices, and how long that takes to find out.

The graphs have the shapes of ResNet-50, Inception v3, BERT-base, GPT-2 and a wide MLP; their weights are holes in a
file, for the planner reads none. Balance is the mean of the stages' estimated seconds, transfers included, by the
slowest's. Beside it the slowest against what no plan is faster than: all seconds in equal parts, or the unit that takes
longest with what it gives to the client, if no other byte were moved. And the balance of cuts at equal numbers of units
and at equal bytes of weights, as one would do by hand.

longest with what it gives to the client, if no other byte moved. And the balance of cuts at equal numbers of units and
at equal bytes of weights, as one would do by hand.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import harness
import models
import numpy as np
import onnx
from models import Graph, floats
from onnx import TensorProto, helper

from executor.sharding import costs
from executor.sharding.devices import wish_for
from executor.sharding.planning import asking, make_plan
from executor.sharding.profile import profile
from executor.sharding.shapes import Sizes, concrete
from executor.sharding.source import read_source
from executor.sharding.spans import rows
from executor.sharding.units import units
from headrace.sharding import Sharding

DEVICES = (2, 4, 8)
ROUNDS = 3
FILE = "weights.bin"


class Hollow(Graph):
    """A graph whose large weights are places in a file that holds nothing."""

    def __init__(self):
        super().__init__()
        self._end = 0

    def weight(self, *shape):
        tensor = TensorProto(name=f"w{len(self._weights)}", data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        size = 4 * int(np.prod(shape))
        for key, value in (("location", FILE), ("offset", self._end), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self._end += size
        self._weights.append(tensor)
        return tensor.name

    def save(self, path, inputs, y):
        super().save(path, inputs, y)
        with (path.parent / FILE).open("wb") as file:
            file.truncate(self._end)

    def convolve(self, at, given, made, side=1, stride=1, pads=None, relu=True):
        """Convolution, normalisation, Relu. `side` may be (high, wide)."""
        high, wide = side if isinstance(side, tuple) else (side, side)
        pads = [high // 2, wide // 2] * 2 if pads is None else [pads] * 4
        at = self.node("Conv", at, self.weight(made, given, high, wide), pads=pads, strides=[stride] * 2)
        at = self.node("BatchNormalization", at, *(self.weight(made) for _ in range(4)))
        return self.node("Relu", at) if relu else at

    def dense(self, at, given, made):
        return self.node("Add", self.node("MatMul", at, self.weight(given, made)), self.weight(made))

    def pool(self, kind, at, stride, pads):
        return self.node(kind, at, kernel_shape=[3, 3], strides=[stride] * 2, pads=[pads] * 4)

    def classify(self, at, given, made):
        flat = self.node("Flatten", self.node("GlobalAveragePool", at))
        self.node("Gemm", flat, self.weight(given, made), self.weight(made), output="y")

    def norm(self, at, width):
        return self.node("LayerNormalization", at, self.weight(width), self.weight(width), axis=-1)


def resnet50(path):
    graph = Hollow()
    at = graph.pool("MaxPool", graph.convolve("x", 3, 64, 7, 2), 2, 1)
    given = 64
    for group, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            stride = 2 if group and not block else 1
            inner = graph.convolve(graph.convolve(at, given, width), width, width, 3, stride)
            inner = graph.convolve(inner, width, 4 * width, relu=False)
            at = graph.convolve(at, given, 4 * width, 1, stride, relu=False) if not block else at
            at, given = graph.node("Relu", graph.node("Add", inner, at)), 4 * width
    graph.classify(at, given, 1000)
    graph.save(path, [floats("x", "rows", 3, 224, 224)], floats("y", "rows", 1000))


def inception_v3(path):
    graph = Hollow()

    def chain(at, given, *steps):
        for made, side, *rest in steps:
            at, given = graph.convolve(at, given, made, side, *rest), made
        return at

    def join(*parts):
        return graph.node("Concat", *parts, axis=1)

    at = chain("x", 3, (32, 3, 2, 0), (32, 3, 1, 0), (64, 3))
    at = chain(graph.pool("MaxPool", at, 2, 0), 64, (80, 1), (192, 3, 1, 0))
    at, given = graph.pool("MaxPool", at, 2, 0), 192
    for pooled in (32, 64, 64):
        at, given = (
            join(
                chain(at, given, (64, 1)),
                chain(at, given, (48, 1), (64, 5)),
                chain(at, given, (64, 1), (96, 3), (96, 3)),
                chain(graph.pool("AveragePool", at, 1, 1), given, (pooled, 1)),
            ),
            224 + pooled,
        )
    small = chain(at, given, (64, 1), (96, 3), (96, 3, 2, 0))
    at, given = join(chain(at, given, (384, 3, 2, 0)), small, graph.pool("MaxPool", at, 2, 0)), 768
    for width in (128, 160, 160, 192):
        flat, tall = (1, 7), (7, 1)
        long = ((width, 1), (width, tall), (width, flat), (width, tall), (192, flat))
        at = join(
            chain(at, given, (192, 1)),
            chain(at, given, (width, 1), (width, flat), (192, tall)),
            chain(at, given, *long),
            chain(graph.pool("AveragePool", at, 1, 1), given, (192, 1)),
        )
    small = chain(at, given, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0))
    large = chain(at, given, (192, 1), (320, 3, 2, 0))
    at, given = join(large, small, graph.pool("MaxPool", at, 2, 0)), 1280
    for _ in range(2):
        one, two = chain(at, given, (384, 1)), chain(at, given, (448, 1), (384, 3))
        split = [graph.convolve(each, 384, 384, side) for each in (one, two) for side in ((1, 3), (3, 1))]
        pooled = chain(graph.pool("AveragePool", at, 1, 1), given, (192, 1))
        at, given = join(chain(at, given, (320, 1)), *split, pooled), 2048
    graph.classify(at, given, 1000)
    graph.save(path, [floats("x", "rows", 3, 299, 299)], floats("y", "rows", 1000))


def transformer(path, vocabulary, width=768, layers=12, heads=12, tied=False):
    """x INT64 [rows, tokens]: BERT-base without a head, or GPT-2 with its embeddings as the last weights."""
    graph = Hollow()
    table = graph.weight(vocabulary, width)
    split_up = graph.constant(np.array([0, 0, heads, width // heads]))
    joined, scale = graph.constant(np.array([0, 0, width])), graph.constant(np.float32((width // heads) ** -0.5))

    def split(at, *order):
        return graph.node("Transpose", graph.node("Reshape", at, split_up), perm=order)

    at = graph.norm(graph.node("Gather", table, "x"), width)
    for _ in range(layers):
        query, key, value = (graph.dense(at, width, width) for _ in range(3))
        scores = graph.node("Mul", graph.node("MatMul", split(query, 0, 2, 1, 3), split(key, 0, 2, 3, 1)), scale)
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), split(value, 0, 2, 1, 3))
        mixed = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        at = graph.norm(graph.node("Add", at, graph.dense(mixed, width, width)), width)
        wide = graph.dense(at, width, 4 * width)
        half = graph.node("Mul", wide, graph.constant(np.float32(0.5)))
        erf = graph.node("Erf", graph.node("Mul", wide, graph.constant(np.float32(2**-0.5))))
        wide = graph.node("Mul", half, graph.node("Add", erf, graph.constant(np.float32(1))))
        at = graph.norm(graph.node("Add", at, graph.dense(wide, 4 * width, width)), width)
    last = graph.node("Transpose", table, perm=[1, 0]) if tied else graph.weight(width, 2)
    graph.node("MatMul", at, last, output="y")
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["rows", "tokens"])]
    graph.save(path, inputs, floats("y", "rows", "tokens", vocabulary if tied else 2))


def wide_mlp(path):
    graph, widths = Hollow(), (1024, *[8192] * 15, 1000)
    at = "x"
    for index, (given, made) in enumerate(itertools.pairwise(widths)):
        at = graph.node("Gemm", at, graph.weight(given, made), graph.weight(made))
        at = graph.node("Relu", at, output="y" if index == len(widths) - 2 else None)
    graph.save(path, [floats("x", "rows", 1024)], floats("y", "rows", 1000))


MODELS = {
    "ResNet-50": resnet50,
    "Inception v3": inception_v3,
    "BERT-base": lambda path: transformer(path, 30522),
    "GPT-2": lambda path: transformer(path, 50257, tied=True),
    "wide MLP": wide_mlp,
}


def by_hand(work, kind, devices, share):
    """Balance of cuts where `share`, summed up over the units, has equal parts."""
    ends = np.searchsorted(np.cumsum(share) / sum(share), np.arange(1, devices) / devices) + 1
    bounds = [0, *map(int, ends), len(work)]
    if any(first >= end for first, end in itertools.pairwise(bounds)):
        return None
    found = {row.first: row for row in rows(work)}
    link = costs.speed(kind)

    def seconds(first, end):
        row, last = found[first], end - first - 1
        moved = (row.taken[last] + row.given[last]) / link.link_bytes_per_s + 2 * link.link_s
        return sum(work.seconds[kind][first:end]) + moved

    each = [seconds(first, end) for first, end in itertools.pairwise(bounds)]
    return sum(each) / len(each) / max(each)


def least_s(work, kind, devices):
    """What the slowest stage takes at least."""
    each = np.array(work.seconds[kind])
    for value in work.passing:
        if value.leaves:
            each[value.maker] += value.bytes / costs.speed(kind).link_bytes_per_s
    return max(sum(each) / devices, *each)


def plan_for(source, kind, devices, rows, measured=None):
    names = [f"{kind}:{at}" for at in range(devices)]
    return make_plan(source, wish_for(Sharding(devices=names, stages=devices, micro_batch_rows=rows)), measured)


def slowest(plan):
    return max(stage.seconds for stage in plan.stages)


def one(name, path, kind, batch):
    source = read_source(path)
    whole = slowest(plan_for(source, kind, 1, batch))
    values = concrete(source.graph, Sizes(batch), asking(source))
    work = units(source.graph, values, {kind: costs.seconds(source.graph, values, costs.speed(kind))}).work
    heavy = np.zeros(len(work))
    for weight in work.weights:
        heavy[weight.users[0]] += weight.bytes
    for devices in DEVICES:
        took = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            plan = plan_for(read_source(path), kind, devices, batch)
            took.append(time.perf_counter() - started)
        yield {
            "model": name,
            "kind": kind,
            "devices": devices,
            "nodes": len(source.graph.nodes),
            "units": len(work),
            "weights_mb": round(sum(source.graph.weights.values()) / 1e6, 1),
            "balance": round(plan.balance, 3),
            "of_bound": round(least_s(work, kind, devices) / slowest(plan), 3),
            "equal_units": by_hand(work, kind, devices, np.ones(len(work))),
            "equal_weights": by_hand(work, kind, devices, heavy),
            "speedup": round(whole / slowest(plan), 2),
            "cut_mb": [round(stage.cut_bytes / 1e6, 3) for stage in plan.stages[:-1]],
            "copied_mb": round(sum(plan.copied.values()) / 1e6, 1),
            "planning_s": round(statistics.median(took), 3),
        }


def worth(file, rows):
    """The slowest stage by measured seconds, of plans by estimates against plans by measured seconds."""
    source = read_source(file)
    measured = profile(source, Sizes(rows))
    for devices in DEVICES[:2]:
        by_estimate, by_profile = (plan_for(source, "cpu", devices, rows, seconds) for seconds in (None, measured))
        took = [sum(measured[node] for node in stage.ends.nodes) + stage.link_s for stage in by_estimate.stages]
        best = slowest(by_profile)
        yield {"model": file.stem, "devices": devices, "ratio": round(max(took) / best, 3)}


def networks(folder):
    """Files and the rows to measure them with."""
    models.encoder(folder / "encoder" / "1" / "model.onnx", width=512, layers=4, tokens=128)
    models.convolutions(folder / "convolutions" / "1" / "model.onnx", 64, 128, 256, 512)
    models.mlp(folder / "mlp" / "1" / "model.onnx", 1024, *[2048] * 6, 10)
    for file in sorted(folder.rglob("*.onnx")):
        yield file.rename(file.with_name(f"{file.parent.parent.name}.onnx")), 4
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    yield from ((file, 1) for file in sorted(light.glob("*.onnx")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    plans, ratios = [], []
    for kind in ("cpu", "cuda"):
        print(f"\n{kind}, {given.rows} rows")
        print(f"{'':14}devices balance of bd units= bytes= speed-up plan s  cuts MB")
        for name, build in MODELS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model" / "1" / "model.onnx"
                build(path)
                for cell in one(name, path, kind, given.rows):
                    plans.append(cell)
                    hand = "".join(f"{cell[key] or 0:7.2f}" for key in ("of_bound", "equal_units", "equal_weights"))
                    print(
                        f"{name:14}{cell['devices']:7}{cell['balance']:8.3f}{hand}{cell['speedup']:9.2f}"
                        f"{cell['planning_s']:7.2f}  {cell['cut_mb']}"
                    )
    print("\nslowest stage, by measured seconds: plans by estimates / plans by measurement")
    with tempfile.TemporaryDirectory() as folder:
        for file, rows_each in networks(Path(folder)):
            ratios += (found := list(worth(file, rows_each)))
            print(f"{file.stem:24}", *(f"{each['devices']}: {each['ratio']:.2f}" for each in found))
    median, most = statistics.median(each["ratio"] for each in ratios), max(each["ratio"] for each in ratios)
    print(f"median {median:.2f}, most {most:.2f}")
    if not given.no_results:
        found = {"rows": given.rows, "onnx": onnx.__version__, "plans": plans, "estimates": ratios}
        harness.keep(harness.HERE / "results" / "plans.json", found)


if __name__ == "__main__":
    main()
