from xml.etree import ElementTree

import pytest
import sharded_models
from sharding_runs import on

from executor.sharding.picture import mermaid, svg
from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes


@pytest.fixture
def encoder(source):
    return make_plan(source(sharded_models.encoder()), Wish(on(3), 3, Sizes(3, 5)))


def test_mermaid_has_stages_and_what_passes_between_them(encoder):
    lines = mermaid(encoder).splitlines()
    assert lines[0] == "flowchart LR"
    boxes = [line for line in lines if "stage" in line]
    assert [line.split("[")[0].strip() for line in boxes] == ["s0", "s1", "s2"]
    arrows = [line.split() for line in lines if " -- " in line]
    drawn = {(words[0], words[-1]) for words in arrows}
    assert drawn == {
        ("request" if source < 0 else f"s{source}", f"s{at}")
        for at, stage in enumerate(encoder.stages)
        for source in stage.comes
    }
    assert "  s2 --> answer" in lines


def test_svg_is_well_formed_and_names_every_stage_and_its_device(encoder):
    root = ElementTree.fromstring(svg(encoder))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for at in range(3):
        assert f"stage {at} on cpu:{at}" in texts
    width, height = float(root.get("width")), float(root.get("height"))
    _, *boxes_and_bars = root.iter("{http://www.w3.org/2000/svg}rect")  # behind them is the background
    for element in boxes_and_bars:
        assert 0 <= float(element.get("x")) <= float(element.get("x")) + float(element.get("width")) <= width
        assert float(element.get("y")) + float(element.get("height")) <= height
