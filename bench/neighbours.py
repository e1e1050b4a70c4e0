"""Did others use this machine meanwhile? Then what was measured beside them is measured again, once they are gone."""

import time

import psutil

SHARE = 0.12
"""Of one core. Less cannot be told from what the kernel counts in ticks."""


def option(parser):
    parser.add_argument("--patience", type=float, default=1200, help="seconds in total to wait for others to be quiet")


class Neighbours:
    """Waits `patience_s` in total for others to go; what is disturbed after that stays, and is counted."""

    def __init__(self, patience_s):
        self._patience_s = patience_s
        self.measured, self.disturbed = 0, 0

    def again(self):
        """For each attempt at one measurement: `for _ in neighbours.again(): found = measure()`."""
        self.measured += 1
        while True:
            before, started = _others(), time.monotonic()
            yield
            if _share(before, started) < SHARE:
                return
            if self._patience_s <= 0:
                self.disturbed += 1
                return
            self._wait()

    def _wait(self):
        quiet = False
        while not quiet and self._patience_s > 0:
            before, started = _others(), time.monotonic()
            time.sleep(1)
            self._patience_s -= 1
            quiet = _share(before, started) < SHARE

    def __str__(self):
        return f"{self.disturbed} of {self.measured} measurements were disturbed by others on this machine"


def _share(before, started):
    return (_others() - before) / (time.monotonic() - started)


def _others():
    """Seconds of all cores that went neither to this process nor to its descendants, since some time.

    Interrupts are not counted: they are mostly ours, and no process's.
    """
    machine, me = psutil.cpu_times(), psutil.Process()
    ours = 0.0
    for process in [me, *me.children(recursive=True)]:
        spent = process.cpu_times()
        ours += spent.user + spent.system
    return machine.user + machine.nice + machine.system + machine.steal - ours
