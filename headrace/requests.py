"""A request and its response as every protocol sees them, once the bytes are gone.

Decoders make an `InferRequest` whose arrays are views on the body where that is possible; encoders take an
`InferResponse`. They are msgspec structs, never serialised as such: of all classes with named fields these are the
cheapest to make (0.1 us against 0.6 us of a slotted dataclass), and one of each is made per request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy.typing as npt

from headrace.models import ModelId

Array: TypeAlias = npt.NDArray[Any]
"""A tensor's data: C-contiguous or not, native byte order, dtype one of `headrace.datatypes.BY_NUMPY`."""

Parameters: TypeAlias = Mapping[str, Any]
"""V2 parameters: name -> bool, int, float or str."""

NO_PARAMETERS: Parameters = {}


class RequestedOutput(msgspec.Struct):
    """One entry of a request's `outputs`: which output, and in which form it is wanted.

    `binary` None means "as the request says for all"; `classification` n > 0 asks for the n best classes instead of
    the tensor (Triton's classification extension).
    """

    name: str
    binary: bool | None = None
    classification: int = 0


class InferRequest(msgspec.Struct):
    """Inputs for one model. `version` is a number or a label, "" leaves the choice to the server.

    `outputs` None asks for all of them. `binary_output` is the request-wide wish of the binary tensor extension.
    `timeout_us` 0 means none. Requests with the same `sticky` get the same version.
    `priority`: 1 is the most urgent, 0 leaves it to the model.
    `client` tells requests of the same connection, where there is at most one at a time; 0: unknown.
    `explain`: the answer is to say where its time went, from `since` on (when the body was there; monotonic seconds).
    """

    model: str
    version: str
    inputs: dict[str, Array]
    id: str = ""
    parameters: Parameters = NO_PARAMETERS
    outputs: Sequence[RequestedOutput] | None = None
    binary_output: bool = False
    timeout_us: int = 0
    sticky: str = ""
    client: int = 0
    explain: bool = False
    since: float = 0.0
    priority: int = 0


class InferResponse(msgspec.Struct):
    """Outputs of one request, in the order asked for (the model's own order if none was asked for).

    `since`: as in its request; where it is not 0, `parameters` say where the time went.
    """

    model: ModelId
    id: str
    outputs: dict[str, Array]
    parameters: Parameters = NO_PARAMETERS
    since: float = 0.0
