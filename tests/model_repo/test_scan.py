import os

import pytest

from headrace.errors import RepositoryError
from headrace.models import ModelId
from model_repo.found import MODEL_NAME, Problem
from model_repo.routing import Routing
from model_repo.scan import scan


def put(root, files):
    """Write `files`: path -> text."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def ids(found):
    return [str(id) for id in found.wanted]


def reasons(found):
    return {problem.name: problem.reason for problem in found.problems}


def test_models_are_found_without_configuration(tmp_path):
    put(tmp_path, {"b/1/model.onnx": "", "a/2/model.onnx": "", "a/10/model.onnx": "", "README.md": "", ".git/1/x": ""})
    found = scan([tmp_path])
    assert ids(found) == ["a/10", "b/1"]
    assert found.problems == ()
    assert found.wanted[ModelId("a", 10)].model_file == tmp_path / "a/10/model.onnx"


def test_an_unchanged_repository_scans_the_same(tmp_path):
    put(tmp_path, {"a/1/model.onnx": "x", "a/config.yaml": "labels: {y: l.txt}", "a/l.txt": "cat", "b/x": ""})
    assert scan([tmp_path]) == scan([tmp_path])


@pytest.mark.parametrize(
    "change",
    [
        {"a/1/model.onnx": "other size"},
        {"a/1/weights.bin": "new"},
        {"a/1/deep/weights.bin": "longer"},
        {"a/config.yaml": "{labels: {y: l.txt}, batching: {max_batch_rows: 2}}"},
        {"a/l.txt": "dog"},
    ],
)
def test_a_changed_file_or_setting_changes_the_fingerprint(tmp_path, change):
    put(tmp_path, {"a/1/model.onnx": "x", "a/1/deep/weights.bin": "w"})
    put(tmp_path, {"a/config.yaml": "labels: {y: l.txt}", "a/l.txt": "cat"})
    before = scan([tmp_path]).wanted[ModelId("a", 1)]
    put(tmp_path, change)
    after = scan([tmp_path]).wanted[ModelId("a", 1)]
    assert before.fingerprint != after.fingerprint


LABELLED = "{versions: all, version_labels: {stable: 1, canary: 2}, traffic: {canary: 5%}, sticky: request_id}"


def test_labels_and_shares_are_found_and_load_nothing_again(tmp_path):
    put(
        tmp_path, {"a/1/model.onnx": "x", "a/2/model.onnx": "y", "a/config.yaml": "versions: all", "b/1/model.onnx": ""}
    )
    before = scan([tmp_path])
    put(tmp_path, {"a/config.yaml": LABELLED})
    after = scan([tmp_path])
    assert [spec.fingerprint for spec in after.wanted.values()] == [spec.fingerprint for spec in before.wanted.values()]
    assert (before.routing, after.problems) == ({}, ())
    assert after.routing == {"a": Routing({"stable": 1, "canary": 2}, {"canary": 5.0}, by_id=True)}
    assert after != before, "so that it is passed on"


def test_a_label_of_a_version_that_is_not_served_is_a_problem_and_no_more(tmp_path):
    put(tmp_path, {"a/1/model.onnx": "x", "a/2/x": "", "a/3/model.onnx": "z"})
    put(tmp_path, {"a/config.yaml": "{versions: [1, 2], version_labels: {stable: 1, old: 3, broken: 2, typo: 40}}"})
    found = scan([tmp_path])
    assert ids(found) == ["a/1"]
    assert [str(problem) for problem in found.problems] == [
        "a/2: no model file: expected a/2/model.onnx",
        "a/3: label 'old' names version 3, which is not served; 1 is",
        "a/40: label 'typo' names version 40, which is not served; 1 is",
    ]
    assert found.routing["a"].labels["typo"] == 40


def test_a_file_of_the_same_size_put_in_place_changes_the_fingerprint(tmp_path):
    put(tmp_path, {"a/1/model.onnx": "x", "new": "y"})
    old = (tmp_path / "a/1/model.onnx").stat()
    before = scan([tmp_path])
    os.utime(tmp_path / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "a/1/model.onnx")
    assert scan([tmp_path]) != before


@pytest.mark.parametrize(
    "change",
    [
        {"a/config.yaml": "versions: all"},  # says which versions, not what they are
        {"a/1/.model.onnx.Xy12": "half of a copy"},  # not finished, so not there
        {"a/1/.cache/x": ""},
        {"a/notes.txt": ""},
        {"b/1/model.onnx": ""},
    ],
)
def test_what_does_not_concern_a_version_leaves_its_fingerprint(tmp_path, change):
    put(tmp_path, {"a/1/model.onnx": "x"})
    before = scan([tmp_path]).wanted[ModelId("a", 1)]
    put(tmp_path, change)
    assert scan([tmp_path]).wanted[ModelId("a", 1)].fingerprint == before.fingerprint


@pytest.mark.parametrize("folder", ["0", "01", "-1", "1.0", "v1", "..data", ".1", "²", "9" * 30, "latest"])
def test_other_folders_are_no_versions(tmp_path, folder):
    put(tmp_path, {"a/1/model.onnx": "", f"a/{folder}/model.onnx": ""})
    found = scan([tmp_path])
    assert (ids(found), found.problems) == (["a/1"], ())


def test_version_policy_is_applied_and_a_named_version_that_is_missing_is_reported(tmp_path):
    put(tmp_path, {f"a/{version}/model.onnx": "" for version in (1, 2, 3)})
    put(tmp_path, {"a/config.yaml": "versions: [1, 3, 7]"})
    found = scan([tmp_path])
    assert ids(found) == ["a/1", "a/3"]
    assert found.problems == (Problem("a", 7, "the configuration names version 7; there is 1, 2, 3"),)


def test_a_version_folder_without_its_model_file_is_reported_and_not_chosen(tmp_path):
    put(tmp_path, {"a/1/model.onnx": "", "a/2/something": ""})
    found = scan([tmp_path])
    assert ids(found) == ["a/1"]
    assert found.problems == (Problem("a", 2, "no model file: expected a/2/model.onnx"),)


def test_a_broken_version_that_would_not_be_chosen_is_no_news(tmp_path):
    put(tmp_path, {"a/1/something": "", "a/2/model.onnx": ""})
    assert scan([tmp_path]).problems == ()


def test_labels_are_read_and_belong_to_the_version(tmp_path):
    put(
        tmp_path,
        {"a/1/model.onnx": "", "a/config.yaml": "labels: {y: l.txt}", "a/l.txt": "\ufeffcat\r\ndög\n\nbird\n\n"},
    )
    assert scan([tmp_path]).wanted[ModelId("a", 1)].labels == {"y": ("cat", "dög", "", "bird")}


def test_tritons_configuration_is_read_with_its_file_name(tmp_path):
    put(tmp_path, {"a/1/net.onnx": "", "a/config.pbtxt": 'max_batch_size: 4 default_model_filename: "net.onnx"'})
    spec = scan([tmp_path]).wanted[ModelId("a", 1)]
    assert spec.model_file.name == "net.onnx"
    assert spec.config.batching.max_batch_rows == 4


BROKEN = {
    "both": (
        {"config.yaml": "", "config.pbtxt": "", "1/model.onnx": ""},
        "both both/config.yaml and both/config.pbtxt",
    ),
    "empty": ({"readme": ""}, "no version found: expected empty/1/model.onnx"),
    "flat": ({"model.onnx": ""}, "no version found: expected flat/1/model.onnx"),
    "key": ({"config.yaml": "batchin: 1", "1/model.onnx": ""}, "did you mean 'batching'"),
    "pb": ({"config.pbtxt": "model_warmup {}", "1/model.onnx": ""}, "pb/config.pbtxt: not supported: model_warmup"),
    "nolabels": ({"config.yaml": "labels: {y: no.txt}", "1/model.onnx": ""}, "nolabels/no.txt is not there"),
    "outside": ({"config.yaml": "labels: {y: ../../x}", "1/model.onnx": ""}, "leads out of the repository"),
    "absolute": ({"config.yaml": "labels: {y: /etc/hostname}", "1/model.onnx": ""}, "leads out of the repository"),
    "nul": ({"config.yaml": 'labels: {y: "a\\0b"}', "1/model.onnx": ""}, "is not there, or no file"),
    "long": ({"config.yaml": f"labels: {{y: {'l' * 300}}}", "1/model.onnx": ""}, "cannot be read: File name too long"),
    "dir": ({"config.yaml/x": "", "1/model.onnx": ""}, "dir/config.yaml is not there, or no file"),
    "longer": (
        {"config.pbtxt": f'default_model_filename: "{"l" * 300}"', "1/x": ""},
        "cannot be read: File name too long",
    ),
    "none": ({"config.yaml": "versions: []", "1/model.onnx": ""}, "names no version to serve"),
    "bad\nname": ({"1/model.onnx": ""}, "is no model name"),
    "colon:name": ({"1/model.onnx": ""}, "is no model name"),
    "x" * 129: ({"1/model.onnx": ""}, "is no model name"),
}


def test_broken_models_are_reported_each_with_its_reason_and_stop_nobody(tmp_path):
    put(tmp_path, {"good/1/model.onnx": ""})
    for name, (files, _) in BROKEN.items():
        put(tmp_path, {f"{name}/{path}": text for path, text in files.items()})
    put(tmp_path, {"binary/1/model.onnx": ""})
    (tmp_path / "binary/config.yaml").write_bytes(b"\xff\xfe\x00")
    found = scan([tmp_path])
    assert ids(found) == ["good/1"]
    said = reasons(found)
    assert "binary/config.yaml is not UTF-8 text" in said.pop("binary")
    for name, (_, reason) in BROKEN.items():
        assert reason in said.pop(repr(name)[1:-1][:128])
    assert said == {}


def test_names_that_are_no_text_can_still_be_sent(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.makedirs(folder + b"/1")  # noqa: PTH103 - pathlib cannot make a name out of bytes
    (problem,) = scan([tmp_path]).problems
    assert problem.name == r"\udcff\udcfe"
    problem.reason.encode()


def test_links_inside_the_repository_are_followed(tmp_path):
    put(tmp_path, {".store/7/model.onnx": "x", ".store/blob": "y", "plain/1/model.onnx": ""})
    (tmp_path / "alias").symlink_to(tmp_path / ".store")
    (tmp_path / "cache/3").mkdir(parents=True)
    (tmp_path / "cache/3/model.onnx").symlink_to("../../.store/blob")
    (tmp_path / "by_version").mkdir()
    (tmp_path / "by_version/1").symlink_to("../plain/1")
    assert ids(scan([tmp_path])) == ["alias/7", "by_version/1", "cache/3", "plain/1"]
    before = scan([tmp_path])
    (tmp_path / ".store/blob").write_text("longer")
    assert scan([tmp_path]).models["cache"] != before.models["cache"]


@pytest.mark.parametrize("link", ["m", "m/1", "m/1/model.onnx", "m/1/weights.bin", "m/config.yaml"])
def test_links_out_of_the_repository_are_refused(tmp_path, link):
    repository, outside = tmp_path / "repository", tmp_path / "outside"
    put(repository, {"good/1/model.onnx": ""})
    put(outside, {"m/1/model.onnx": "", "m/1/weights.bin": "", "m/config.yaml": ""})
    if link != "m":
        put(repository, {"m/1/model.onnx": ""} if link not in ("m/1", "m/1/model.onnx") else {"m/1x": "", "m/2x": ""})
    (repository / link).parent.mkdir(parents=True, exist_ok=True)
    (repository / link).symlink_to(outside / link)
    found = scan([repository])
    assert ids(found) == ["good/1"]
    assert f"{link} leads out of the repository" in reasons(found)["m"]


def test_links_that_lead_nowhere_are_reported(tmp_path):
    put(tmp_path, {"a/1/x": "", "b/1/model.onnx": "", "c/1/model.onnx": ""})
    (tmp_path / "a/1/model.onnx").symlink_to("model.onnx")
    (tmp_path / "b/config.yaml").symlink_to("config.yaml")
    (tmp_path / "c/config.pbtxt").symlink_to("old.pbtxt")
    assert reasons(scan([tmp_path])) == {
        "a": "no model file: expected a/1/model.onnx",
        "b": "b/config.yaml is not there, or no file",
        "c": "c/config.pbtxt is not there, or no file",
    }


def test_a_file_that_is_no_configuration_for_its_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("model_repo.scan.TEXT_BYTES", 10)
    put(tmp_path, {"a/1/model.onnx": "", "a/config.yaml": "# 11 bytes\n"})
    assert reasons(scan([tmp_path])) == {"a": "a/config.yaml has 11 bytes; at most 10 are read"}


def test_a_model_in_two_repositories_is_served_from_neither(tmp_path):
    put(tmp_path, {"r/a/1/model.onnx": "", "s/a/1/model.onnx": "", "s/b/1/model.onnx": ""})
    found = scan([tmp_path / "r", tmp_path / "s"])
    assert ids(found) == ["b/1"]
    assert reasons(found) == {"a": f"is in more than one repository: {tmp_path / 'r'}, {tmp_path / 's'}"}


def test_a_repository_given_twice_is_read_once(tmp_path):
    put(tmp_path, {"a/1/model.onnx": ""})
    (tmp_path / "link").symlink_to(tmp_path)
    assert ids(scan([tmp_path, tmp_path / "a/..", tmp_path / "link"])) == ["a/1"]


def test_a_repository_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RepositoryError, match=r"model repository .*/nowhere cannot be read: No such file"):
        scan([tmp_path / "nowhere"])
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match=r"file cannot be read: Not a directory"):
        scan([tmp_path / "file"])


def test_only_the_named_models_are_read(tmp_path):
    put(tmp_path, {"a/1/model.onnx": "", "b/1/model.onnx": "", "broken/x": ""})
    found = scan([tmp_path], names=["a", "c"])
    assert ids(found) == ["a/1"]
    assert reasons(found) == {"b": "not loaded", "broken": "not loaded", "c": "is not in the repository"}


@pytest.mark.parametrize("name", ["resnet50", "a-b_c.d", "bert base", "模型", "_x", "v1+2", "8b"])
def test_names_people_give(name):
    assert MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", ".hidden", " x", "x ", "a  b", "a/b", "a\tb", "a:b", "a%2fb", "a?b", "-x", "a\x7f"]
)
def test_names_that_are_refused(name):
    assert not MODEL_NAME.fullmatch(name)


def test_a_version_has_the_size_of_its_files_hidden_ones_and_the_other_versions_not_counted(tmp_path):
    put(tmp_path, {"a/2/model.onnx": "123", "a/2/deep/weights.bin": "45", "a/2/.part": "6789", "a/1/model.onnx": "0"})
    put(tmp_path, {"a/config.yaml": "versions: [2]"})
    assert scan([tmp_path]).wanted[ModelId("a", 2)].size == 5
