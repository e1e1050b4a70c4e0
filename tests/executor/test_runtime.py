"""ONNX Runtime's absence is a sentence, its presence a version."""

import subprocess
import sys

from executor import runtime


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
