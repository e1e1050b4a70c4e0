import os

import xxhash

from executor.digests import checksum, digest, files_below, size_of


def folder_with(tmp_path, **files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_digest_depends_on_names_and_contents_only(tmp_path):
    folder = folder_with(tmp_path, a=b"1", b=b"22")
    before = digest(folder, files_below(folder))
    os.utime(folder / "a", (1, 1))
    assert digest(folder, files_below(folder)) == before
    (folder / "b").write_bytes(b"23")
    changed = digest(folder, files_below(folder))
    (folder / "b").rename(folder / "c")
    assert len({before, changed, digest(folder, files_below(folder))}) == 3


def test_what_moves_between_files_is_seen(tmp_path):
    folder_with(tmp_path, a=b"12", b=b"3")
    before = digest(tmp_path, files_below(tmp_path))
    folder_with(tmp_path, a=b"1", b=b"23")
    assert digest(tmp_path, files_below(tmp_path)) != before


def test_files_in_folders_below_and_hidden_ones_count(tmp_path):
    (tmp_path / "deep").mkdir()
    folder_with(tmp_path / "deep", w=b"123")
    folder_with(tmp_path, **{".hidden": b"4"})
    files = files_below(tmp_path)
    assert [name for name, *_ in files] == [".hidden", "deep/w"]
    assert size_of(files) == 4


def test_a_linked_folder_is_not_looked_into(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert files_below(tmp_path) is None


def test_checksum_is_of_all_of_the_file(tmp_path):
    folder_with(tmp_path, full=b"x" * 100_000, empty=b"")
    assert checksum(tmp_path / "full") == xxhash.xxh3_128_hexdigest(b"x" * 100_000)
    assert checksum(tmp_path / "empty") == xxhash.xxh3_128_hexdigest(b"")
