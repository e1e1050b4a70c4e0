"""ONNX Runtime's absence is a sentence, its presence a version."""

import os
import subprocess
import sys
from pathlib import Path

from executor import runtime

TESTS = str(Path(__file__).parents[1])
MODEL = """
import onnx_models
from executor import runtime
runtime.InferenceSession(onnx_models.mlp(), providers=["CPUExecutionProvider"])
"""


def test_missing_onnxruntime_says_what_to_install():
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from headrace.errors import ConfigError\n"
        "try:\n    import executor.load\n"
        "except ConfigError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "pip install '.[cpu]'" in said
    assert "pip install '.[gpu]'" in said


def test_cpu_is_always_available():
    assert "CPUExecutionProvider" in runtime.available_providers()
    assert runtime.VERSION.split(".")[0].isdigit()


def test_looking_for_cuda_libraries_is_silent_where_there_are_none(capfd):
    runtime.find_cuda_libraries()
    assert capfd.readouterr() == ("", "")


def test_the_runtime_leaves_nothing_behind_that_identifies_the_machine(tmp_path):
    """Its wheels for Linux do, from 1.32 on, and send it away."""
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": TESTS}
    subprocess.run([sys.executable, "-c", MODEL], env=environment, check=True, capture_output=True, text=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
