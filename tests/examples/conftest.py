"""Puts the scripts of examples/ within reach: they are programs, not an installed package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "examples"))
