from executor.processor import processor


def saying(tmp_path, text):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    return processor.__wrapped__(path)


def test_make_and_instructions_count_and_speed_does_not(tmp_path):
    old = saying(tmp_path, "model name\t: A\nflags\t: sse avx2\ncpu MHz\t: 1000\n")
    assert saying(tmp_path, "model name\t: A\nflags\t: sse avx2\ncpu MHz\t: 2000\n") == old
    assert saying(tmp_path, "model name\t: A\nflags\t: sse avx2 avx512f\ncpu MHz\t: 1000\n") != old


def test_every_kind_of_core_counts(tmp_path):
    big = "CPU part\t: 0xd0b\n"
    assert saying(tmp_path, big * 4) != saying(tmp_path, big + "CPU part\t: 0xd05\n")


def test_a_system_that_does_not_say(tmp_path):
    assert processor.__wrapped__(tmp_path / "nothing") is None
    assert saying(tmp_path, "processor\t: 0\n") is None
