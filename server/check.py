"""Does a request fit its model? Decided before it is queued, so that no batch ever holds a bad one.

Built once per servable from its metadata; called once per request by the data plane. Answers the number of rows and
the key of the requests it may share a batch with: `()` where every trailing shape is fixed, else the shapes themselves
and the set of optional inputs present. Of a padded model `line` says the key, and the length. A mask that was not sent
is put in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from headrace.datatypes import BY_NUMPY
from headrace.errors import BadRequest
from headrace.models import ModelMetadata, TensorSpec
from headrace.requests import Array, RequestedOutput
from server.masks import Masks


class RequestCheck:
    """`check(inputs)` returns (rows, key) or raises BadRequest naming the tensor, what was expected and found."""

    def __init__(self, metadata: ModelMetadata) -> None:
        self._model = metadata.id.name
        self._batchable = metadata.batchable
        self._specs = {spec.name: spec for spec in metadata.inputs}
        self._expected = {
            spec.name: (spec.datatype.numpy, len(spec.shape), _fixed_tail(spec)) for spec in metadata.inputs
        }
        self._required = [spec.name for spec in metadata.inputs if not spec.optional]
        self._outputs = {spec.name for spec in metadata.outputs}
        self.padding = metadata.padding
        self._masks: Masks | None = None
        if self.padding is not None and self.padding.mask is not None:
            self._masks = Masks(metadata, self.padding.mask)
            self._required.remove(self._masks.name)
        self.varies = not metadata.one_shape and self.padding is None
        """Rows may differ in what they are, and hence in what they cost."""
        self._one_key = not self.varies

    def check(self, inputs: dict[str, Array]) -> tuple[int, Hashable]:
        """Validate names, datatypes, shapes and equal rows. An unbatched model's request counts as one row."""
        rows = -1
        for name, array in inputs.items():
            expected = self._expected.get(name)
            if expected is None:
                known = ", ".join(map(repr, self._specs))
                raise BadRequest(f"model {self._model!r} has no input {name!r}; its inputs are {known}")
            dtype, rank, tail = expected
            if array.dtype != dtype:
                raise BadRequest(
                    f"input {name!r} of model {self._model!r} is {BY_NUMPY[dtype].value},"
                    f" the request has {BY_NUMPY[array.dtype].value}"
                )
            shape = array.shape
            if len(shape) != rank or (tail != shape[1:] and not _fits(shape, self._specs[name].shape)):
                raise self._misfit(self._specs[name], shape)
            if self._batchable and shape[0] != rows:
                if rows >= 0:
                    raise self._uneven(inputs)
                rows = shape[0]
        if len(inputs) < len(self._specs):
            missing = [repr(name) for name in self._required if name not in inputs]
            if missing:
                raise BadRequest(f"model {self._model!r} needs input {', '.join(missing)}, which the request lacks")
            if self._masks is not None and self._masks.name not in inputs:
                inputs[self._masks.name] = self._masks.made_for(inputs, rows)
        if not self._batchable:
            return 1, ()
        if self._one_key:
            return rows, ()
        return rows, tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))

    def line(self, inputs: Mapping[str, Array]) -> tuple[int, Hashable]:
        """(length, key) of a request that was checked, for a padded model; length 0: not to be padded.

        That is one whose padded inputs have no common length, or none at all: it shares a batch with its like.
        """
        assert self.padding is not None
        padded = self.padding.inputs
        lengths = set()
        key = []
        for name, array in inputs.items():
            tail = array.shape[1:]
            how = padded.get(name)
            if how is not None:
                lengths.add(array.shape[how.axis])
                tail = tail[: how.axis - 1] + tail[how.axis :]
            key.append((name, tail))
        if len(lengths) == 1 and 0 not in lengths:
            return lengths.pop(), tuple(sorted(key))
        return 0, tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))

    @staticmethod
    def elements(inputs: Mapping[str, Array], rows: int) -> int:
        """Of each row of a request that was checked."""
        return sum([array.size for array in inputs.values()]) // max(rows, 1)

    def check_outputs(self, wanted: Iterable[RequestedOutput]) -> None:
        """Validate the names in a request's `outputs`."""
        seen = set()
        for output in wanted:
            if output.name not in self._outputs:
                known = ", ".join(map(repr, sorted(self._outputs)))
                raise BadRequest(f"model {self._model!r} has no output {output.name!r}; its outputs are {known}")
            if output.name in seen:
                raise BadRequest(f"output {output.name!r} is requested twice")
            seen.add(output.name)

    def _misfit(self, spec: TensorSpec, shape: tuple[int, ...]) -> BadRequest:
        return BadRequest(
            f"input {spec.name!r} of model {self._model!r} has shape {list(spec.shape)} (-1 is free),"
            f" the request has {list(shape)}"
        )

    def _uneven(self, inputs: Mapping[str, Array]) -> BadRequest:
        rows = ", ".join(f"{name!r} has {array.shape[0]}" for name, array in inputs.items() if array.ndim)
        return BadRequest(f"the inputs of model {self._model!r} must have equally many rows: {rows}")


def _fixed_tail(spec: TensorSpec) -> tuple[int, ...] | None:
    """The shape without axis 0 if only that is free: one comparison then decides."""
    return spec.shape[1:] if spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] else None


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return all(wanted in (found, -1) for found, wanted in zip(shape, expected, strict=True))
