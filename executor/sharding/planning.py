"""From a model's file and a list of devices to a plan: what each stage runs, takes, gives and costs.

Receives a `Source` and a `Wish`, hands a `Plan` to whoever prints it, draws it or makes its stages. Blocking, but
without a clock and without chance: the same model and wish give the same plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto, ValueInfoProto

from executor import runtime
from executor.options import session_options
from executor.sharding import costs
from executor.sharding.cut import Ends, ends
from executor.sharding.order import orders
from executor.sharding.plan import SLACK, Device, Placement, needs, place
from executor.sharding.shapes import Ask, Sizes, concrete, declared, unknown
from executor.sharding.source import Source, open_on_cpu
from executor.sharding.spans import crossing, rows
from executor.sharding.units import Units, units
from executor.sharding.work import Work
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
    """Large weights that more than one stage holds -> bytes of one copy."""
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
    found = [
        (placement, order)
        for order in orders(gathered.work)
        if (placement := place(gathered.work.ordered(order), wish.devices, wish.stages, wish.slack))
    ]
    if not found:
        raise LoadFailed(f"{source.files[0][0]}: {_why_not(gathered.work, wish)}")
    placement, order = min(found, key=lambda each: each[0].merit)
    stages = tuple(_stages(source, gathered, placement, order))
    return Plan(
        source.files[0][0],
        stages,
        wish.sizes,
        measured is not None,
        len(gathered.work),
        _copied(gathered.work.ordered(order), placement),
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


def _copied(work: Work, placement: Placement) -> dict[str, int]:
    return {
        weight.name: weight.bytes
        for weight in work.weights
        if weight.is_shared and sum(any(run.first <= u < run.end for u in weight.users) for run in placement.runs) > 1
    }


def _why_not(work: Work, wish: Wish) -> str:
    lacks = needs(work, wish.devices, wish.stages)
    wanted, count = wish.stages, len(wish.devices)
    if wanted and (lacks.per_device_bytes is None or wanted > count):
        why = f"{count} devices are named" if wanted > count else f"it has {len(work)} units, and not all can be parted"
        return f"cannot be cut into {wanted} stages: {why}"
    on = _count(wanted or count)
    most = max(wish.devices, key=lambda device: device.usable_bytes)
    limits = ", ".join(in_words(limit) for limit in sorted({device.memory_bytes for device in wish.devices}))
    would = f"it would fit on {on} with {in_words(enough(lacks.per_device_bytes or 0))} each"
    if lacks.devices is None:
        alone = f"{lacks.largest_unit} alone takes {in_words(lacks.largest_unit_bytes + most.reserve_bytes)}"
        rather = f"with {in_words(most.memory_bytes)} no number of devices would do: {alone}"
    else:
        rather = f"with {in_words(most.memory_bytes)} each it takes {lacks.devices}"
    kept = f" ({in_words(most.reserve_bytes)} of each are kept free)" if most.reserve_bytes else ""
    return f"does not fit on {on} of {limits}: {would}; {rather}{kept}"


def _count(devices: int) -> str:
    return f"{devices} device{'s' if devices > 1 else ''}"
