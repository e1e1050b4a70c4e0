from executor.locks import locked


def test_one_holds_it_or_several_share_it(tmp_path):
    path = tmp_path / "lock"
    with locked(path, shared=True) as one, locked(path, shared=True, wait=False) as other:
        assert one is not None
        assert other is not None
        with locked(path, wait=False) as alone:
            assert alone is None
    with locked(path, wait=False) as alone:
        assert alone is not None
        with locked(path, shared=True, wait=False) as shared:
            assert shared is None


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """As it happens to who waits while the holder removes it."""
    from executor import locks

    path, flock = tmp_path / "lock", locks.fcntl.flock
    removed = []

    def remove_first(file, how):
        if not removed:
            removed.append(path.unlink())
        flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", remove_first)
    with locked(path) as file:
        assert file is not None
        monkeypatch.undo()
        with locked(path, wait=False) as other:
            assert other is None
