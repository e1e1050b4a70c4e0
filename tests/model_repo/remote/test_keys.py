"""Keys are chosen by whoever can write to the bucket; the paths made from them stay inside the copy."""

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_repo.remote.keys import NOT_NEEDED, check, sort_out


@pytest.mark.parametrize(
    "key", ["m/1/model.onnx", "m/config.yaml", "m/1/deep/er/weights.bin", "größe/1/a b\\c%2e.onnx"]
)
def test_files_of_models_are_copied(key):
    assert check(key) is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("../m/1/model.onnx", ". or .."),
        ("m/1/../../../etc/passwd", ". or .."),
        ("m/./model.onnx", ". or .."),
        ("/etc/passwd", "empty part"),
        ("m//model.onnx", "empty part"),
        ("m/1//", "empty part"),
        ("//", "empty part"),
        ("m/1/model\0.onnx", "NUL"),
        ("m/1/\udc80", "no text"),
        (f"m/{'x' * 201}/model.onnx", "too long"),
        (f"m/{'ä' * 101}/model.onnx", "too long"),
        ("/".join(["x" * 100] * 11), "too long"),
    ],
)
def test_keys_that_are_no_safe_path_are_refused_with_a_reason(key, reason):
    assert reason in check(key).reason


@pytest.mark.parametrize("key", ["m/1/", "m/", "README.md", "", ".git/config", "m/.cache/x", "m/1/.model.onnx"])
def test_what_the_scan_passes_over_is_not_copied_and_nobody_is_told(key):
    assert check(key) is NOT_NEEDED


def test_a_key_that_is_the_folder_of_another_loses():
    keys = ["m/1", "m/1/model.onnx", "m/1/model.onnx/x", "n/1/model.onnx", "n"]
    assert sort_out(keys) == (
        {"m/1/model.onnx/x", "n/1/model.onnx"},
        {"m/1": "is a file and a folder at once", "m/1/model.onnx": "is a file and a folder at once"},
    )


segments = st.sampled_from(["", ".", "..", "m", "1", "model.onnx", ".hidden", "a b", "\0", "~", "C:", "\\", "x" * 201])
hostile = st.lists(segments, max_size=6).map("/".join) | st.text(max_size=20)


@given(st.sets(hostile))
@example({"m/..", "m/1"})
def test_any_keys_give_paths_below_the_copy_that_can_all_be_there_at_once(keys):
    good, refused = sort_out(keys)
    assert not good & set(refused)
    for key in good:
        path = PurePosixPath("/copy", key)
        assert path.is_relative_to("/copy")
        assert str(path) == f"/copy/{key}"
        assert ".." not in path.parts
        assert not {str(parent) for parent in PurePosixPath(key).parents} & good
