import numpy as np
import onnx
import pytest
import sharded_models
from onnx import ModelProto
from sharding_runs import GIB, OPTIMISED, inputs_for, on, run_stages, session

from executor.sharding.planning import Wish, make_plan
from executor.sharding.source import read_source
from executor.sharding.stages import stage_models
from headrace.errors import LoadFailed


def save_external(folder, **how):
    proto = ModelProto.FromString(sharded_models.layers())
    onnx.save(proto, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0, **how)


def runs(source):
    stages = stage_models(source, make_plan(source, Wish(on(2), 2)))
    x = np.ones((1, sharded_models.WIDTH), np.float32)
    return "y" in run_stages(stages, source.folder, {"x": x}, OPTIMISED)


def test_a_link_to_a_model_is_that_model(tmp_path):
    """As in the caches of model hubs, where the runtime would follow no link out of a folder."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "3f2a").write_bytes(sharded_models.layers())
    link = tmp_path / "model.onnx"
    link.symlink_to("blobs/3f2a")
    source = read_source(link)
    assert (source.folder, source.files[0][0]) == (tmp_path / "blobs", "3f2a")
    assert runs(source)


def test_where_the_process_works_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    save_external(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    source = read_source(tmp_path / "models" / "model.onnx")
    assert runs(source)


def test_the_digest_is_of_all_but_the_weights(tmp_path):
    proto = ModelProto.FromString(sharded_models.layers())

    def digest():
        (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
        return read_source(tmp_path / "model.onnx").digest

    before = digest()
    large = next(each for each in proto.graph.initializer if len(each.raw_data) >= 1024)
    large.raw_data = bytes(len(large.raw_data))
    assert digest() == before
    proto.graph.node[0].name = "other"
    assert digest() != before


def replace(proto, key, value):
    (entry,) = (entry for entry in proto.graph.initializer[0].external_data if entry.key == key)
    entry.value = value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder, proto: (folder / "w.bin").unlink(), "w.bin cannot be read: No such file"),
        (
            lambda folder, proto: (folder / "w.bin").write_bytes(b"short"),
            "weight 'w0': expected 4096 bytes from byte 0 on in w.bin, which has 5",
        ),
        (lambda folder, proto: replace(proto, "location", "/etc/passwd"), "found a reference to '/etc/passwd'"),
        (lambda folder, proto: replace(proto, "location", "../w.bin"), "found a reference to '../w.bin'"),
        (lambda folder, proto: replace(proto, "offset", "-1"), "weight 'w0': expected .* found '-1'"),
        (lambda folder, proto: replace(proto, "length", "many"), "weight 'w0': expected .* found 'many'"),
    ],
)
def test_references_that_lead_nowhere_or_out_are_refused(tmp_path, change, sentence):
    save_external(tmp_path)
    proto = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    change(tmp_path, proto)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(LoadFailed, match=sentence):
        read_source(tmp_path / "model.onnx")


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LoadFailed, match=r"nothing\.onnx cannot be read: No such file"):
        read_source(tmp_path / "nothing.onnx")


def test_a_reference_without_a_length_means_the_rest_of_what_the_tensor_needs(tmp_path):
    """ONNX lets length be left out."""
    save_external(tmp_path)
    proto = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    for weight in proto.graph.initializer:
        kept = [entry for entry in weight.external_data if entry.key != "length"]
        del weight.external_data[:]
        weight.external_data.extend(kept)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    source = read_source(tmp_path / "model.onnx")
    assert runs(source)
    whole = session((tmp_path / "model.onnx").read_bytes(), tmp_path, OPTIMISED)
    assert set(inputs_for(whole)) == {"x"}


def test_models_that_are_too_large_for_protobuf_run_in_stages(tmp_path):
    """3 GB, of which next to nothing is read: a stage holds what its file's pages are used of."""
    rows = 6 << 20
    sharded_models.two_tables(tmp_path / "model.onnx", rows)
    source = read_source(tmp_path / "model.onnx")
    plan = make_plan(source, Wish(on(2, memory_bytes=2 * GIB), None))
    assert [stage.weight_bytes for stage in plan.stages] == [rows * 256] * 2
    ids = np.array([0, rows - 1])
    y = run_stages(stage_models(source, plan), source.folder, {"ids": ids}, OPTIMISED)["y"]
    assert y[:, 0].tolist() == [1 / 64, 7 + 1 / 64]
