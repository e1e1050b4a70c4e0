"""What models take of memory, as several processes write it down and any of them reads it."""

import subprocess
import sys

import msgspec

from executor.footprint import Use
from headrace.models import ModelId
from server.holdings import Holdings

M, OTHER = ModelId("m", 1), ModelId("other", 2)
SHARED = Use("cpu", 1000, "00:2d 11")


def test_bytes_of_all_processes_add_up_but_a_file_counts_once(tmp_path):
    one, two = Holdings(tmp_path, 0), Holdings(tmp_path, 1)
    one.add(M, (Use("cpu", 10), SHARED))
    two.add(M, (Use("cpu", 20), Use("cuda:1", 7), SHARED))
    two.add(OTHER, (Use("cpu", 1),))
    assert one.totals() == two.totals() == {M: {"cpu": 1030, "cuda:1": 7}, OTHER: {"cpu": 1}}


def test_what_is_unloaded_is_gone_and_the_other_instance_of_the_version_stays(tmp_path):
    holdings = Holdings(tmp_path, 0)
    old = holdings.add(M, (Use("cpu", 10), SHARED))
    new = holdings.add(M, (Use("cpu", 30),))
    holdings.remove(old)
    assert holdings.totals() == {M: {"cpu": 30}}
    holdings.remove(new)
    assert holdings.totals() == {}


def test_files_that_others_map_count_once_and_not_those_of_the_model_itself(tmp_path):
    one, two = Holdings(tmp_path, 0), Holdings(tmp_path, 1)
    one.add(M, (SHARED,))
    two.add(M, (SHARED,))
    two.add(OTHER, (Use("cpu", 5), Use("cpu", 70, "00:2d 12")))
    assert one.mapped(but=OTHER) == 1000
    assert one.mapped(but=M) == 70
    assert one.mapped(but=ModelId("third", 1)) == 1070


def test_a_process_that_has_ended_has_nothing(tmp_path):
    script = f"""
from pathlib import Path
from executor.footprint import Use
from headrace.models import ModelId
from server.holdings import Holdings
Holdings(Path({str(tmp_path)!r}), 3).add(ModelId("m", 1), (Use("cpu", 10),))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert msgspec.msgpack.decode((tmp_path / "3.holds").read_bytes())["held"]
    assert Holdings(tmp_path, 0).totals() == {}
