"""From a model's file and a list of devices to a plan: what each stage runs, takes, gives and costs.

Receives a `Source` and a `Wish`, hands a `Plan` to whoever prints it, draws it or makes its stages. Blocking, but
without a clock and without chance: the same model and wish give the same plan.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto, ValueInfoProto

from executor import runtime
from executor.options import session_options
from executor.sharding import costs
from executor.sharding.cut import Ends, ends
from executor.sharding.order import orders
from executor.sharding.plan import SLACK, Device, Placement, best, needs, place
from executor.sharding.shapes import Ask, Sizes, concrete, declared, unknown
from executor.sharding.source import Source, open_on_cpu
from executor.sharding.spans import crossing, rows
from executor.sharding.units import Units, units
from executor.sharding.work import LARGE, Work
from headrace.errors import LoadFailed
from headrace.sharding import enough, in_words


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    devices: Sequence[Device]
    stages: int | None = None
    """None: the fewest that fit."""
    sizes: Sizes = field(default_factory=Sizes)
    slack: float = SLACK


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a plan. Bytes and seconds are estimates for `Sizes`."""

    device: str
    ends: Ends
    comes: Mapping[int, int]
    """Stage, or -1 for the request -> bytes that this one takes from there."""
    weight_bytes: int
    peak_bytes: int
    """Of weights and values together, without the reserve."""
    limit_bytes: int
    """That the device has, reserve included."""
    compute_s: float
    link_s: float
    """For what it takes and gives."""
    cut_bytes: int
    """Of all that stages from the next one on need of those up to this one; 0 after the last."""

    @property
    def after(self) -> tuple[int, ...]:
        """Stages that must have run. Two of which neither is after the other may run at the same time."""
        return tuple(sorted(stage for stage in self.comes if stage >= 0))

    @property
    def seconds(self) -> float:
        """For one batch, when nothing overlaps."""
        return self.compute_s + self.link_s


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is cut. The stages stand in an order in which each comes after those that it needs."""

    model: str
    stages: tuple[Stage, ...]
    sizes: Sizes
    measured: bool
    """Whether seconds are from a profile."""
    units: int
    """Between which a cut may come, at most."""
    copied: Mapping[str, int]
    """Large weights that more than one stage needs -> bytes of one copy."""
    guessed: tuple[str, ...]
    """Values whose shape is not known before a run."""
    giving: tuple[int, ...]
    """Stages that give outputs of the model."""

    @property
    def balance(self) -> float:
        """Mean by slowest of the stages' seconds: 1 is perfect."""
        return sum(stage.seconds for stage in self.stages) / len(self.stages) / max(s.seconds for s in self.stages)


def make_plan(source: Source, wish: Wish, measured: Sequence[float] | None = None) -> Plan:
    """The best plan that is found. `measured`: seconds per node, else they are estimated.

    Raises LoadFailed if the model cannot be read or does not fit, and says what would.
    """
    graph = source.graph
    values = concrete(graph, wish.sizes, asking(source))
    kinds = {device.kind for device in wish.devices}
    seconds = {kind: measured or costs.seconds(graph, values, costs.speed(kind)) for kind in kinds}
    gathered = units(graph, values, seconds)
    if not len(gathered.work):
        raise LoadFailed("expected nodes that run, found constants only")
    tried = [(order, gathered.work.ordered(order)) for order in orders(gathered.work)]
    found = [
        (placement, order)
        for order, work in tried
        if (placement := place(work, wish.devices, wish.stages, wish.slack)) is not None
    ]
    if not found:
        raise LoadFailed(_why_not([work for _, work in tried], wish))
    placement, order = found[best([placement for placement, _ in found], wish.slack)]
    stages = tuple(_stages(source, gathered, placement, order))
    return Plan(
        source.name,
        stages,
        wish.sizes,
        measured is not None,
        len(gathered.work),
        _copied(source, stages),
        tuple(unknown(graph, values)),
        tuple(at for at, stage in enumerate(stages) if not set(stage.ends.gives).isdisjoint(graph.outputs)),
    )


def types(source: Source) -> Mapping[str, ValueInfoProto]:
    """What stages declare of the values that cross."""
    return declared(source.graph, asking(source))


def asking(source: Source) -> Ask:
    """The runtime, which is asked for types and neither changes the graph nor packs weights for that."""

    def ask(model: ModelProto) -> object:
        options = session_options(1)
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        return open_on_cpu(source, model, options)

    return ask


def _stages(source: Source, gathered: Units, placement: Placement, order: Sequence[int]) -> Iterator[Stage]:
    work = gathered.work.ordered(order)
    runs = placement.runs
    members = [[node for unit in order[run.first : run.end] for node in gathered.nodes[unit]] for run in runs]
    made_by: dict[str, int] = {}
    size = {value.name: value.bytes for value in work.passing}
    across = crossing(work)
    found = {row.first: row for row in rows(work) if row.first in {run.first for run in runs}}
    for at, (run, each) in enumerate(zip(runs, ends(source.graph, members), strict=True)):
        row, last = found[run.first], run.end - run.first - 1
        comes: dict[int, int] = defaultdict(int)
        for name in each.takes:
            comes[made_by.get(name, -1)] += size[name]
        yield Stage(
            device=run.device.name,
            ends=each,
            comes=dict(comes),
            weight_bytes=int(row.weights[last]),
            peak_bytes=int(row.weights[last] + row.peak[last]),
            limit_bytes=run.device.memory_bytes,
            compute_s=float(sum(work.seconds[run.device.kind][run.first : run.end])),
            link_s=run.device.link_seconds(int(row.taken[last] + row.given[last])),
            cut_bytes=int(across[run.end]) if run.end < len(work) else 0,
        )
        made_by |= dict.fromkeys(each.gives, at)


def _copied(source: Source, stages: Sequence[Stage]) -> dict[str, int]:
    graph = source.graph
    held = Counter(
        name
        for stage in stages
        for name in {name for index in stage.ends.nodes for name in graph.nodes[index].uses} & graph.weights.keys()
    )
    return {name: graph.weights[name] for name, count in held.items() if count > 1 and graph.weights[name] >= LARGE}


def _why_not(works: Sequence[Work], wish: Wish) -> str:
    """`works`: the same in different orders; what would do for one of them will do."""
    each = [needs(work, wish.devices, wish.stages) for work in works]
    per_device = min((lacks.per_device_bytes for lacks in each if lacks.per_device_bytes is not None), default=None)
    devices = min((lacks.devices for lacks in each if lacks.devices is not None), default=None)
    wanted, count = wish.stages, len(wish.devices)
    if wanted and (per_device is None or wanted > count):
        why = (
            f"{count} devices are named"
            if wanted > count
            else f"it has {len(works[0])} units, and not all can be parted"
        )
        return f"cannot be cut into {wanted} stages: {why}"
    on = _count(wanted or count)
    most = max(wish.devices, key=lambda device: device.usable_bytes)
    limits = ", ".join(in_words(limit) for limit in sorted({device.memory_bytes for device in wish.devices}))
    would = f"it would fit on {on} with {in_words(enough(per_device or 0))} each"
    if devices is None:
        alone = f"{each[0].largest_unit} alone takes {in_words(each[0].largest_unit_bytes + most.reserve_bytes)}"
        rather = f"with {in_words(most.memory_bytes)} no number of devices would do: {alone}"
    else:
        rather = f"with {in_words(most.memory_bytes)} each it takes {devices}"
    kept = f" ({in_words(most.reserve_bytes)} of each are kept free)" if most.reserve_bytes else ""
    return f"does not fit on {on} of {limits}: {would}; {rather}{kept}"


def _count(devices: int) -> str:
    return f"{devices} device{'s' if devices > 1 else ''}"
