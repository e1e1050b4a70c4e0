"""The pool as its operator and its clients see it: real processes, real signals."""

import re
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from server.pool.ending import AGAIN_S
from server.pool.exit_codes import ExitCode
from server.pool.run import how_many

pytestmark = pytest.mark.slow

READY = "ready: all"


def replicas_of(pool, connections=12):
    """Process ids of the replicas that serve, by asking over several connections."""
    return {re.match(r"hello (\d+)", pool.connect().get())[1] for _ in range(connections)}


@pytest.mark.parametrize(
    ("configured", "cores", "replicas"), [("auto", 8.0, 8), ("auto", 1.5, 2), ("auto", 0.3, 1), (3, 8.0, 3)]
)
def test_auto_is_a_replica_for_each_core_that_is_begun(configured, cores, replicas):
    assert how_many(configured, cores) == replicas


@pytest.mark.parametrize(
    ("cores", "memory_mib", "replicas"),
    [(2.0, 24_000, 2), (2.0, 512, 2), (2.0, 320, 1), (16.0, 2048, 11), (1.0, 512, 1), (4.0, 64, 1), (4.0, None, 4)],
)
def test_auto_is_no_more_replicas_than_fit_into_half_of_the_memory(cores, memory_mib, replicas):
    assert how_many("auto", cores, memory_mib and memory_mib << 20) == replicas
    assert how_many(5, cores, memory_mib and memory_mib << 20) == 5, "who says how many gets them"


def test_after_sigterm_the_pool_accepts_for_the_lag_and_is_not_ready(start_pool):
    pool = start_pool(replicas=1, lag_s=1.0)
    pool.wait_for(READY)
    pool.process.send_signal(signal.SIGTERM)
    pool.wait_for("SIGTERM: not ready any more; accepting for another 1 s")
    assert "ready=0" in pool.connect().get(), "a new connection, and it is told not to send another"
    pool.wait_for("^draining, at most")
    assert pool.wait() == ExitCode.DRAINED


def test_a_replica_that_dies_during_the_lag_is_replaced(start_pool):
    pool = start_pool(replicas=1, lag_s=30.0)
    pool.wait_for(READY)
    victim = pool.connect()
    victim.get()
    pool.process.send_signal(signal.SIGTERM)
    pool.wait_for("not ready any more")
    psutil.Process(victim.pid).kill()
    pool.wait_for("is back after")
    assert "ready=0" in pool.connect().get()
    time.sleep(AGAIN_S)  # a second signal sooner than that is the first one
    pool.process.send_signal(signal.SIGTERM)
    assert pool.wait() == ExitCode.STOPPED_AT_ONCE


def test_pool_is_ready_when_all_replicas_are(start_pool):
    pool = start_pool(replicas=3)
    pool.wait_for(READY)
    assert "ready=1" in pool.connect().get()
    assert len(replicas_of(pool)) == 3


def has_ended(process):
    """Also true for an orphan that init has not reaped yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Client(threading.Thread):
    """Asks without pause on one connection, and again on a new one when that breaks. Keeps what broke."""

    def __init__(self, pool, stop):
        super().__init__()
        self.pool, self.stop = pool, stop
        self.broken = []
        self.answers = 0

    def run(self):
        connection = self.pool.connect()
        while not self.stop.is_set():
            try:
                connection.get()
                self.answers += 1
            except OSError as error:
                self.broken.append((connection.pid, repr(error)))
                connection = self.pool.connect()


def test_killed_replica_is_back_within_two_seconds_and_the_others_lose_nothing(start_pool, eventually):
    pool = start_pool(replicas=2)
    pool.wait_for(READY)
    stop = threading.Event()
    clients = [Client(pool, stop) for _ in range(6)]
    for client in clients:
        client.start()
    try:
        eventually(lambda: all(client.answers for client in clients))
        before = {int(pid) for pid in replicas_of(pool)}
        victim = min(before)
        killed_at = time.monotonic()
        psutil.Process(victim).kill()
        newcomers = eventually(lambda: {int(pid) for pid in replicas_of(pool, 2)} - before, within_s=2)
        back_s = time.monotonic() - killed_at
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert back_s < 2
    assert len(newcomers) == 1
    assert {pid for client in clients for pid, _ in client.broken} == {victim}
    assert "ready=1" in pool.connect().get()


def test_pool_whose_repository_is_gone_says_so_and_ends(start_pool):
    pool = start_pool(scene="no-repository")
    assert pool.wait() == ExitCode.BOOT_FAILED
    assert pool.said("cannot boot: model repository /no/such/repository")
    assert not pool.said(READY)


def test_killed_standby_and_killed_replica_leave_no_zombie(start_pool, eventually):
    pool = start_pool(replicas=1)
    pool.wait_for(READY)
    eventually(lambda: len(pool.children()) == 2)
    for child in pool.children():
        child.kill()
    pool.wait_for("is back")
    assert all(child.status() != psutil.STATUS_ZOMBIE for child in pool.children())
    assert pool.connect().get()


def test_sigterm_answers_what_was_accepted_then_exits_zero(start_pool, eventually):
    pool = start_pool(replicas=2)
    pool.wait_for(READY)
    slow = [pool.connect() for _ in range(10)]
    for connection in slow:
        connection.send("/slow")
    watcher = pool.connect()
    eventually(lambda: sum(watcher.counts()) == 11)
    children = pool.children()
    pool.process.send_signal(signal.SIGTERM)
    pool.wait_for("draining [0-9]+", times=2)
    with pytest.raises(ConnectionRefusedError):
        pool.connect()
    pool.release.touch()
    assert len({connection.receive().split()[1] for connection in slow}) == 2
    assert pool.wait() == ExitCode.DRAINED
    assert all(has_ended(child) for child in children)


def test_a_standby_uses_the_time_and_who_is_needed_at_once_does_not(start_pool):
    pool = start_pool(replicas=1)
    pool.wait_for("at leisure")
    assert len(pool.said("at leisure")) == 1
    served = pool.connect()
    served.get()
    assert not pool.said(f"at leisure {served.pid}$")
    psutil.Process(served.pid).kill()
    pool.wait_for("is back")
    successor = pool.connect()
    successor.get()
    assert pool.said(f"at leisure {successor.pid}$")


def test_drain_lets_no_connection_in_through_a_replica_that_is_only_starting(start_pool):
    pool = start_pool(replicas=2, scene="slow-load")
    pool.release.touch()
    pool.wait_for(READY)
    pool.release.unlink()
    first = pool.connect()
    first.get()
    first.send("/slow")
    for child in pool.children():
        if child.pid != first.pid:
            child.kill()
    pool.wait_for("replica . ended")
    pool.process.send_signal(signal.SIGTERM)
    pool.wait_for(f"draining {first.pid}")
    with pytest.raises(ConnectionRefusedError):
        pool.connect()
    pool.release.touch()
    assert first.receive()
    assert pool.wait() == ExitCode.DRAINED


def test_connections_in_the_accept_queue_are_answered_when_the_pool_drains(start_pool):
    pool = start_pool(replicas=1)
    pool.wait_for(READY)
    replica = psutil.Process(int(replicas_of(pool, 1).pop()))
    replica.suspend()
    waiting = [pool.connect() for _ in range(5)]
    for connection in waiting:
        connection.send()
    pool.process.send_signal(signal.SIGTERM)
    pool.wait_for("SIGTERM: draining")
    replica.resume()
    assert all("hello" in connection.receive() for connection in waiting)
    assert pool.wait() == ExitCode.DRAINED


@pytest.mark.parametrize(
    ("scene", "code", "sentence"),
    [
        ("cannot-import", ExitCode.BOOT_FAILED, "onnxruntime is missing: install"),
        ("bad-configuration", ExitCode.BOOT_FAILED, "expected a folder, found '/nowhere'"),
        ("dies-in-load", ExitCode.GAVE_UP, "died 3 times in a row before it was ready, last: exit code 9"),
    ],
)
def test_pool_that_cannot_boot_says_so_once_and_ends(start_pool, scene, code, sentence):
    pool = start_pool(scene=scene)
    assert pool.wait(within_s=8) == code
    assert len(pool.said(re.escape(sentence))) == 1
    assert not pool.said("Traceback")


def test_first_replicas_answer_while_they_load(start_pool):
    pool = start_pool(replicas=2, scene="slow-load")
    pool.wait_for("loading", times=2)
    assert "ready=0 loaded=0" in pool.connect().get()
    pool.release.touch()
    pool.wait_for(READY)
    assert "ready=1 loaded=1" in pool.connect().get()


def test_replacement_takes_no_connection_before_it_has_loaded(start_pool):
    pool = start_pool(replicas=1, scene="slow-load")
    pool.release.touch()
    pool.wait_for(READY)
    pool.release.unlink()
    asked = pool.connect()
    asked.get()
    psutil.Process(asked.pid).kill()
    pool.wait_for("loading", times=2)
    early = pool.connect()
    early.send()
    pool.release.touch()
    assert "ready=1 loaded=1" in early.receive()


def test_pool_told_to_end_while_it_loads_ends_at_once(start_pool):
    pool = start_pool(replicas=2, scene="slow-load")
    pool.wait_for("loading", times=2)
    pool.process.send_signal(signal.SIGTERM)
    assert pool.wait(within_s=2) == ExitCode.DRAINED


def test_replica_that_keeps_dying_after_ready_is_restarted_ever_later(start_pool):
    pool = start_pool(scene="dies-after-ready")
    pool.wait_for(READY)
    lines = pool.wait_for("replica 0 ended", times=4)
    assert [re.search(r"in ([\d.]+) s", line)[1] for line in lines] == ["0.00", "0.25", "0.50", "1.00"]
    assert "ready=1" in pool.connect().get()


def test_children_end_when_the_supervisor_is_killed(start_pool, eventually):
    pool = start_pool(replicas=2)
    pool.wait_for(READY)
    children = eventually(lambda: len(found := pool.children()) == 3 and found)
    directory = Path(children[0].cmdline()[-4])
    assert directory.is_dir()
    pool.process.kill()
    eventually(lambda: all(has_ended(child) for child in children), within_s=1)
    assert not directory.exists()


def test_child_whose_event_loop_hangs_ends_when_the_supervisor_is_killed(start_pool, eventually):
    pool = start_pool(replicas=1, scene="hangs-in-load")
    pool.wait_for("loading")
    children = pool.children()
    pool.process.kill()
    eventually(lambda: all(has_ended(child) for child in children), within_s=1)


def test_children_that_still_import_end_when_the_supervisor_is_killed(start_pool, eventually):
    pool = start_pool(replicas=2)
    children = eventually(lambda: len(found := pool.children()) == 2 and found)
    pool.process.kill()
    eventually(lambda: all(has_ended(child) for child in children), within_s=1)


def test_drain_that_gets_stuck_ends_after_the_grace_period(start_pool, eventually):
    pool = start_pool(replicas=1, grace_s=0.3)
    pool.wait_for(READY)
    pool.connect().send("/slow")
    watcher = pool.connect()
    eventually(lambda: sum(watcher.counts()) == 2)
    started = time.monotonic()
    pool.process.send_signal(signal.SIGTERM)
    assert pool.wait() == ExitCode.DRAIN_FAILED
    assert 0.3 <= time.monotonic() - started < 1.3
    assert len(pool.said("requests may be lost: replica")) == 1


def test_replica_that_hangs_is_killed_after_the_grace_period(start_pool):
    pool = start_pool(replicas=1, grace_s=0.2)
    pool.wait_for(READY)
    psutil.Process(int(replicas_of(pool, 1).pop())).suspend()
    pool.process.send_signal(signal.SIGTERM)
    assert pool.wait() == ExitCode.DRAIN_FAILED
    assert pool.said("unanswered after 0.2 s")


def test_second_signal_stops_at_once(start_pool, eventually):
    pool = start_pool(replicas=1, grace_s=60)
    pool.wait_for(READY)
    pool.connect().send("/slow")
    watcher = pool.connect()
    eventually(lambda: sum(watcher.counts()) == 2)

    pool.process.send_signal(signal.SIGINT)
    pool.wait_for("SIGINT: draining")
    pool.process.send_signal(signal.SIGINT)  # too soon: taken for the same
    threading.Event().wait(AGAIN_S)
    pool.process.send_signal(signal.SIGINT)
    pool.wait_for("stopping at once")
    assert pool.wait() == ExitCode.STOPPED_AT_ONCE


def test_replica_told_to_end_by_itself_drains_and_is_replaced(start_pool):
    pool = start_pool(replicas=1)
    pool.wait_for(READY)
    asked = pool.connect()
    asked.get()
    psutil.Process(asked.pid).terminate()
    pool.wait_for("is back")
    assert pool.said(r"ended: exit code 0 \(DRAINED\)")


def test_folders_in_the_current_directory_do_not_shadow_the_server(start_pool, tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text("raise RuntimeError('the wrong server')")
    pool = start_pool(replicas=1, cwd=tmp_path)
    pool.wait_for(READY)


def test_connections_are_spread_evenly_over_the_replicas(start_pool, eventually):
    pool = start_pool(replicas=2)
    pool.wait_for(READY)
    connections = [pool.connect() for _ in range(32)]
    eventually(lambda: sum(connections[0].counts()) == 32)
    assert max(connections[0].counts()) <= 19
