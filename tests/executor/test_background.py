import asyncio
import os
import sys
import threading
from pathlib import Path

import onnx_models
import pytest

from executor.background import in_background, step_back
from executor.load import load_model
from headrace.config import Instances, ModelConfig
from headrace.models import ModelId


def test_work_is_done_in_a_thread_that_ends_with_it():
    async def main():
        thread = await in_background(threading.current_thread)
        assert thread is not threading.current_thread()
        thread.join(5)
        assert not thread.is_alive()

    asyncio.run(main())


def test_what_goes_wrong_comes_through():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_background(lambda: 1 / 0))


def test_who_is_cancelled_does_not_wait_for_the_thread():
    begun, go_on = threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait(10)

    async def main():
        task = asyncio.create_task(in_background(work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(main())


def priorities():
    """Of the threads of this process, by their ids."""
    threads = [path.name for path in Path("/proc/self/task").iterdir()]
    return {int(id): os.getpriority(os.PRIO_PROCESS, int(id)) for id in threads}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
@pytest.mark.parametrize(("threads", "expected"), [(1, 19), (2, 0)])
def test_a_load_steps_back_unless_the_sessions_own_threads_would_inherit_it(tmp_path, threads, expected):
    file = onnx_models.save(onnx_models.mlp(), tmp_path)
    config = ModelConfig(instances=Instances(threads=threads))
    before = priorities()

    def work():
        loaded = load_model(ModelId("m", 1), file, config, labels={}, own_thread=True)
        return loaded, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), priorities()

    loaded, mine, all_threads = asyncio.run(in_background(work))
    assert mine == expected
    others = {id: nice for id, nice in all_threads.items() if id not in before}
    assert len(others) == threads, "this one, and the session's own"
    assert set(others.values()) == {expected}
    assert all(all_threads.get(id, nice) == nice for id, nice in before.items())  # some may have ended
    asyncio.run(loaded.executor.close())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_only_the_thread_itself_steps_back():
    def work():
        step_back()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert asyncio.run(in_background(work)) == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == 0
