"""One stage of a model as a model of its own: its nodes, the weights they need, what comes in and what goes out.

Receives a graph and the nodes of a stage, hands a ModelProto with references to the weights. Everything else of the
model (opsets, IR version, metadata, what is said of values) goes along. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto, ValueInfoProto

from executor.sharding.graph import Graph
from headrace.errors import LoadFailed


@dataclass(frozen=True, slots=True)
class Ends:
    """What one stage takes and gives, by name."""

    nodes: tuple[int, ...]
    """All, carried ones too, ascending."""
    takes: tuple[str, ...]
    """The model's inputs first, then what earlier stages give."""
    gives: tuple[str, ...]
    """What later stages take and what the model gives."""
    defaults: tuple[str, ...]
    """Inputs of the model that need not be fed: the stage has a default for them."""


def ends(graph: Graph, stages: Sequence[Collection[int]]) -> list[Ends]:
    """Of each stage, from its nodes without those that are carried.

    What the model gives of constants, the last stage gives. An input that is an output too is in nobody's `gives`.
    """
    found = []
    last = len(stages) - 1
    constant = [name for name in graph.outputs if name in graph.constant]
    # Up to IR version 3 all initializers stood among the inputs, and were constants all the same.
    replaceable = graph.model.ir_version >= 4
    outer = [info.name for info in graph.model.graph.input if info.name in graph.weights and replaceable]
    wants = [{name for index in nodes for name in graph.taken(graph.nodes[index])} for nodes in stages]
    for at, nodes in enumerate(stages):
        uses = [name for index in nodes for name in graph.nodes[index].uses] + (constant if at == last else [])
        whole = sorted({*nodes, *(each.index for each in graph.carried_by(uses))})
        used = {*uses, *(name for index in whole for name in graph.nodes[index].uses)}
        made = [name for index in whole for name in graph.nodes[index].makes]
        values = used - set(made) - graph.weights.keys()
        inputs = [name for name in graph.inputs if name in values]
        others = sorted(values.difference(inputs), key=lambda name: (graph.maker[name].index, name))
        later = set[str]().union(*wants[at + 1 :])
        own = [name for index in sorted(nodes) for name in graph.nodes[index].makes]
        gives = [name for name in own if name in later or name in graph.outputs]
        gives += [name for name in constant if at == last]
        found.append(
            Ends(tuple(whole), (*inputs, *others), tuple(gives), tuple(name for name in outer if name in used))
        )
    return found


def stage_model(graph: Graph, stage: Ends, declared: Mapping[str, ValueInfoProto]) -> ModelProto:
    """The stage as a model. `declared`: type and shape of what crosses. Raises LoadFailed if one lacks."""
    whole = graph.model
    model = ModelProto()
    for field, value in whole.ListFields():
        if field.name not in ("graph", "training_info", "doc_string"):
            getattr(model, field.name).MergeFrom(value) if field.is_repeated else setattr(model, field.name, value)
    part, nodes = model.graph, [whole.graph.node[index] for index in stage.nodes]
    part.name = whole.graph.name
    part.metadata_props.extend(whole.graph.metadata_props)
    part.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    names = made.union(stage.takes, stage.gives, *(graph.nodes[index].uses for index in stage.nodes))
    inputs, outputs = ({info.name: info for info in infos} for infos in (whole.graph.input, whole.graph.output))
    part.input.extend(inputs.get(name) or _known(declared, name) for name in stage.takes)
    part.input.extend(info for name, info in inputs.items() if name in graph.weights and name in names)
    part.output.extend(outputs.get(name) or _known(declared, name) for name in stage.gives)
    part.initializer.extend(tensor for tensor in whole.graph.initializer if tensor.name in names)
    part.sparse_initializer.extend(sparse for sparse in whole.graph.sparse_initializer if sparse.values.name in names)
    part.value_info.extend(info for info in whole.graph.value_info if info.name in made.difference(stage.gives))
    part.quantization_annotation.extend(
        note for note in whole.graph.quantization_annotation if note.tensor_name in names
    )
    return model


def _known(declared: Mapping[str, ValueInfoProto], name: str) -> ValueInfoProto:
    if name not in declared:
        raise LoadFailed(f"expected a type for {name!r}, which passes from stage to stage, found none")
    return declared[name]
