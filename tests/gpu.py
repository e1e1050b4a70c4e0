"""Is there an NVIDIA GPU that ONNX Runtime can use? Modules that need one set `pytestmark = gpu.MARKS`."""

import ctypes

import numpy as np
import pytest

from executor import runtime


def visible() -> bool:
    """The driver counts a device, and this build of ONNX Runtime has the provider for it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    started = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return started and count.value > 0 and "CUDAExecutionProvider" in runtime.available_providers()


MARKS = [pytest.mark.gpu, pytest.mark.skipif(not visible(), reason="no GPU, or no onnxruntime-gpu")]


def assert_near(found, expected):
    """But for TF32, whose products have 10 bits: within a hundredth of the largest number."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.abs(expected).max())
