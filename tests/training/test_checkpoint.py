"""Checkpoints: what is written comes back, what is damaged is named, what points is atomic."""

import os
from fnmatch import fnmatch

import numpy as np
import pytest
import torch

from trajrl.training.run_dir import checkpoint, checkpoint_parts


def parts(step: int) -> dict:
    return {
        "agent": {
            "net": {"w": torch.arange(3.0) + step},
            "optimiser": {"adam": {0: {"m": torch.ones(2)}}},
            "updates": step,
        },
        "logger": {"sums": {"a": torch.tensor(1.0)}, "counts": {"a": 2}},
        "sampler": {"seen": np.array([True, False]), "nested": {"ema": np.arange(2.0), "k": 3, "none": None}},
        "run": {"step": step},
    }


def test_every_part_comes_back(tmp_path):
    path = checkpoint.save(tmp_path, 5, parts(5))
    back = checkpoint.load(path)
    assert set(back) == set(parts(5))
    assert torch.equal(back["agent"]["net"]["w"], torch.tensor([5.0, 6.0, 7.0]))
    assert back["sampler"]["seen"].tolist() == [True, False]
    assert back["sampler"]["nested"]["k"] == 3
    assert back["sampler"]["nested"]["none"] is None


def test_latest_names_the_newest_and_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, parts(step))
    assert checkpoint.follow(tmp_path, "latest").name == "step-000000003"
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-000000002", "step-000000003"]


def test_one_that_is_written_over_is_there_at_every_moment(tmp_path, monkeypatch):
    """A kill may fall after any change to the folder."""
    checkpoint.save(tmp_path, 5, parts(5))
    moments = 0

    def watched(change):
        def done(*words, **options):
            nonlocal moments
            change(*words, **options)
            moments += 1
            assert checkpoint.load(checkpoint.newest(tmp_path))["run"]["step"] == 5

        return done

    monkeypatch.setattr(checkpoint.os, "replace", watched(os.replace))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", watched(checkpoint.shutil.rmtree))
    checkpoint.save(tmp_path, 5, parts(5))
    assert moments >= 4
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000000005"]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    checkpoint.save(tmp_path, 1, parts(1))
    checkpoint.point(tmp_path, "best", "step-000000001")
    for step in (2, 3, 4):
        checkpoint.save(tmp_path, step, parts(step))
    kept = sorted(int(p.name[5:]) for p in tmp_path.glob("step-*"))
    assert kept == [1, 3, 4]


FILES = ["agent.pt", "logger.pt", "run.json", "sampler.json", "sampler.npz", "whole.json"]


def test_every_file_of_a_checkpoint_is_damaged_below(tmp_path):
    assert sorted(path.name for path in checkpoint.save(tmp_path, 5, parts(5)).iterdir()) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_and_named(tmp_path, name):
    path = checkpoint.save(tmp_path, 5, parts(5))
    whole = (path / name).read_bytes()
    for sixteenth in range(16):
        content = bytearray(whole)
        content[len(content) * sixteenth // 16] ^= 1
        (path / name).write_bytes(content)
        said = name if name != "whole.json" else "not a whole checkpoint|damaged"
        with pytest.raises(ValueError, match=said):
            checkpoint.load(path)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found_and_the_one_before_is_taken(tmp_path, name, capsys):
    checkpoint.save(tmp_path, 1, parts(1))
    path = checkpoint.save(tmp_path, 2, parts(2))
    whole = (path / name).read_bytes()
    for sixteenth in range(16):
        (path / name).write_bytes(whole[: len(whole) * sixteenth // 16])
        assert checkpoint.newest(tmp_path).name == "step-000000001"
        assert (name if name != "whole.json" else "not a whole checkpoint") in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"step-", b"step-000000009\n", b"\0\0\0", b"\xff\xfe\x80"])
def test_a_damaged_pointer_is_no_pointer(tmp_path, content):
    checkpoint.save(tmp_path, 2, parts(2))
    (tmp_path / "latest").write_bytes(content)
    assert checkpoint.newest(tmp_path).name == "step-000000002"


def test_nothing_whole_is_an_error_that_says_why(tmp_path):
    path = checkpoint.save(tmp_path, 1, parts(1))
    (path / "whole.json").write_text("{")
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        checkpoint.newest(tmp_path)


def test_a_folder_without_checkpoints_has_no_newest(tmp_path):
    assert checkpoint.newest(tmp_path) is None


def test_a_pointer_out_of_the_folder_is_not_followed(tmp_path):
    inside = tmp_path / "checkpoints"
    checkpoint.save(inside, 1, parts(1))
    (tmp_path / "step-000000009").mkdir()
    (inside / "latest").write_text("../step-000000009\n")
    assert checkpoint.follow(inside, "latest") is None


def test_a_kept_policy_is_light(tmp_path):
    checkpoint.keep_policy(tmp_path, 7, parts(7)["agent"], {"obs_dim": 3})
    light, facts = checkpoint.policy_state(tmp_path, 7)
    assert set(light) == {"net", "updates"}
    assert facts == {"obs_dim": 3}
    assert checkpoint.policy_steps(tmp_path) == [7]


def test_a_checkpoint_with_code_in_it_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"x": Bomb()}, tmp_path / "agent.pt")
    with pytest.raises(ValueError, match="holds more than tensors; nothing in it was executed"):
        checkpoint_parts.read_part(tmp_path, "agent")
    assert not (tmp_path / "exploded").exists()


def test_every_file_is_on_the_disk_before_its_name_says_so(tmp_path, monkeypatch):
    printed: list[str] = []
    sync, replace = os.fsync, os.replace

    def noted_sync(number):
        printed.append(os.readlink(f"/proc/self/fd/{number}"))
        sync(number)

    def noted_replace(source, target):
        printed.append(f"-> {target}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    final = checkpoint.save(tmp_path, 3, parts(3))
    scratch, renamed = tmp_path / ".step-000000003.tmp", printed.index(f"-> {final}")
    assert {str(scratch / path.name) for path in final.iterdir()} | {str(scratch)} <= set(printed[:renamed])
    pointed = printed.index(f"-> {tmp_path / 'latest'}")
    folder, file = printed[renamed + 1 : pointed]
    assert folder == str(tmp_path)
    assert fnmatch(file, str(tmp_path / ".latest.*.tmp" / "latest"))


@pytest.mark.parametrize("name", ["agent.pt", "facts.json"])
def test_a_flipped_byte_in_a_kept_policy_is_found_and_named(tmp_path, name):
    checkpoint.keep_policy(tmp_path, 3, {"net": {"w": torch.ones(1000)}}, {"environment": "toy:point"})
    path = tmp_path / "policy-000000003" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        checkpoint.policy_state(tmp_path, 3)
