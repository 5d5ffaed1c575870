"""Files that are changed where they lie: never through a link, and never through another name of them."""

import os
import stat

import pytest

from trajrl.core.plain_file import open_to_read, open_to_write
from trajrl.store.episode import Episode
from trajrl.store.journal import Journal
from trajrl.training.run_dir.csv_log import append_csv


def copied(folder, to):
    """Copy a folder as `cp -al` does: new folders, and the same files under two names."""
    to.mkdir()
    for path in folder.iterdir():
        os.link(path, to / path.name)
    return to


@pytest.mark.parametrize("how", ["append", "change"])
def test_a_file_of_two_names_is_written_under_one_of_them(tmp_path, how):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.write_bytes(b"before ")
    theirs.chmod(0o640)
    os.link(theirs, ours)
    with open_to_write(ours, how) as file:
        file.seek(0, os.SEEK_END)
        file.write(b"after")
    assert (theirs.read_bytes(), ours.read_bytes()) == (b"before ", b"before after")
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["ours", "theirs"]


def test_the_lock_of_two_names_stays_one(tmp_path):
    open_to_write(tmp_path / "a", "lock").close()
    os.link(tmp_path / "a", tmp_path / "b")
    open_to_write(tmp_path / "b", "lock").close()
    assert (tmp_path / "a").samefile(tmp_path / "b")  # nothing is ever written to it


def test_a_run_copied_by_links_leaves_the_journal_and_rows_of_the_first_as_they_were(tmp_path):
    episode = Episode([[0.0], [1.0]], [[0.0]], [1.0], True)
    with Journal(tmp_path / "a") as journal:
        journal.append(episode)
    append_csv(tmp_path / "a" / "metrics.csv", ["step"], [{"step": 1}])
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    copy = copied(tmp_path / "a", tmp_path / "b")
    with Journal(copy) as journal:
        assert journal.append(episode) == 1
    append_csv(copy / "metrics.csv", ["step"], [{"step": 2}])
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert (copy / "metrics.csv").read_text().split() == ["step", "1", "2"]
    assert len(list(Journal(copy).replay())) == 2


def test_a_folder_where_a_file_is_due_is_named(tmp_path):
    (tmp_path / "metrics.csv").mkdir()
    for opened in (open_to_read, lambda path: open_to_write(path, "append")):
        with pytest.raises((OSError, ValueError), match=r"metrics\.csv"):
            opened(tmp_path / "metrics.csv")
