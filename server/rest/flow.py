"""When a connection is read from: only while nothing waits, neither answers for the client nor requests for an answer.

Used by the connection (`shortcut.py`) and uvicorn's cycles in place of uvicorn's own, which goes on reading after each
answer: a client that pipelines faster than it is answered would fill the memory with its requests, one that does not
read its answers with those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """`behind` holds the requests that wait for the one under way."""

    def __init__(self, transport: asyncio.Transport, behind: Sized) -> None:
        super().__init__(transport)
        self._behind = behind

    def resume_reading(self) -> None:
        """Read again, if that is all right now. To be called whenever something that waited is gone."""
        if not self.write_paused and not self._behind:
            super().resume_reading()
