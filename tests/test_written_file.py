"""Files are whole at any moment, also where the run that writes them is killed or its disk is full."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_failures.errors import InputError
from lightning_failures.records import write_file

WRITES = """
import sys
from lightning_failures.records import write_json
n = 0
while True:
    write_json("here", sys.argv[1], {"numbers": [n] * 200_000})
    n += 1
"""


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    for wait in (0.0, 0.013, 0.031, 0.047):
        writer = subprocess.Popen([sys.executable, "-c", WRITES, str(path)], cwd=Path(__file__).parents[1])
        began = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == began:
            time.sleep(0.005)
            assert writer.poll() is None
        time.sleep(wait)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        numbers = json.loads(path.read_text())["numbers"]
        assert len(numbers) == 200_000
        assert len(set(numbers)) == 1


def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file("here", tmp_path / "report.html", "whole")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"here: a file cannot be written; given .*: No space left on device"):
        write_file("here", path, "another")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_a_device_is_written_itself(tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.write_text("old")
    (tmp_path / "link.txt").symlink_to(real)
    write_file("here", tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert real.read_text() == "new"
    write_file("here", os.devnull, "gone")
    assert Path(os.devnull).is_char_device()
