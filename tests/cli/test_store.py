"""`store` from the command line: what is printed and answered, exit codes, one line of reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from trajrl import Episode, TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.core.rng import stream
from trajrl.store.file.writer import StoreWriter

ROOT = Path(__file__).parents[2]
INFO = (
    "format", "episodes", "transitions", "obs_dim", "action_dim", "lengths", "returns", "terminated",
    "truncated", "dropped_steps", "fingerprint",
)  # fmt: skip


def store_file(path: Path, count: int = 8, source: str = "a", **attributes) -> Path:
    with StoreWriter(path, attributes) as writer:
        for e in range(count):
            rng = stream(0, source, e)
            length = 5 + e
            writer.append(
                Episode(
                    rng.uniform(-1, 1, (length + 1, 3)), rng.uniform(-1, 1, (length, 2)),
                    rng.uniform(0, 1, length), e % 2 == 0, source=source,
                )
            )  # fmt: skip
    return path


def d4rl_file(path: Path, episodes: int = 3, length: int = 50) -> Path:
    """Write flat columns with timeouts, no next observations, and rewards (N, 1) in float64."""
    count = episodes * length
    rng = stream(0, "d4rl")
    with h5py.File(path, "w") as file:
        file["observations"] = rng.uniform(-1, 1, (count, 5)).astype(np.float32)
        file["actions"] = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
        file["rewards"] = rng.uniform(0, 1, (count, 1))
        file["terminals"] = np.zeros(count, bool)
        file["timeouts"] = np.arange(count) % length == length - 1
    return path


def answer(capsys, *words: object, code: int = 0) -> dict:
    """Run a command with --json and return what it answered as its last line."""
    assert dispatch([str(word) for word in (*words, "--json")]) == code
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def refusal(capsys, *words: object) -> str:
    """Run a command that must fail, and return its one line."""
    assert dispatch([str(word) for word in words]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_info_answers_what_scripts_rely_on(tmp_path, capsys):
    path = store_file(tmp_path / "x.h5", provenance={"format": "d4rl", "counts": {"dropped_steps": 3}})
    found = answer(capsys, "store", "info", path)
    assert set(INFO) <= set(found)
    assert (found["episodes"], found["transitions"], found["obs_dim"], found["action_dim"]) == (8, 68, 3, 2)
    assert (found["terminated"], found["truncated"], found["dropped_steps"]) == (4, 4, 3)
    assert found["lengths"] == {"min": 5, "mean": 8.5, "max": 12}
    returns = TrajectoryStore.open(path).table.returns
    assert found["returns"] == {"min": returns.min(), "mean": returns.mean(), "max": returns.max()}
    assert found["fingerprint"] == TrajectoryStore.of(TrajectoryStore.open(path).episodes()).fingerprint


def test_info_is_aligned_for_people(tmp_path, capsys):
    assert dispatch(["store", "info", str(store_file(tmp_path / "x.h5"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    (episodes,) = [line for line in lines if line.startswith("episodes")]
    (lengths,) = [line for line in lines if line.startswith("lengths")]
    assert episodes.split() == ["episodes", "8"]
    assert lengths.index("min") == episodes.index("8")


@pytest.mark.parametrize("command", ["info", "verify", "pack"])
def test_foreign_and_absent_files_get_one_line(tmp_path, capsys, command):
    foreign = d4rl_file(tmp_path / "foreign.hdf5")
    if command != "verify":
        assert "not a trajrl store" in refusal(capsys, "store", command, foreign)
    assert "no such file" in refusal(capsys, "store", command, tmp_path / "absent.h5")


def test_import_says_what_it_changed(tmp_path, capsys):
    out = tmp_path / "x.h5"
    found = answer(capsys, "store", "import", d4rl_file(tmp_path / "x.hdf5"), "--out", out, "--env", "Toy-v0")
    assert (found["format"], found["episodes"], found["transitions"]) == ("d4rl", 3, 147)
    assert found["dropped_steps"] == 3  # truncated ends without a last observation
    known = answer(capsys, "store", "info", out)
    assert {name: known[name] for name in INFO if name != "format"} == {
        **{name: found[name] for name in INFO if name not in ("format", "fingerprint")},
        "fingerprint": TrajectoryStore.open(out).fingerprint,
    }
    assert (known["environment"], known["source_format"]) == ("Toy-v0", "d4rl")


def test_existing_files_are_replaced_only_when_asked(tmp_path, capsys):
    source, out = d4rl_file(tmp_path / "x.hdf5"), store_file(tmp_path / "x.h5")
    before = out.read_bytes()
    for words in (
        ("import", source, "--out", out),
        ("mix", f"{out}:1", "--transitions", 20, "--out", out),
        ("pack", out, "--out", out),
        ("doctor", source, "--fix", "--out", out),
    ):
        assert "exists; choose another name or add --overwrite" in refusal(capsys, "store", *words)
    assert out.read_bytes() == before
    answer(capsys, "store", "import", source, "--out", out, "--overwrite")
    assert len(TrajectoryStore.open(out)) == 3


def test_source_is_never_overwritten(tmp_path, capsys):
    source = d4rl_file(tmp_path / "x.hdf5")
    before = source.read_bytes()
    line = refusal(capsys, "store", "import", source, "--out", source, "--overwrite")
    assert "is not a store of trajrl" in line
    assert source.read_bytes() == before


def test_a_store_packed_over_itself_is_compared_with_what_it_was(tmp_path, capsys):
    path = store_file(tmp_path / "x.h5")
    before = path.stat().st_size
    packed = answer(capsys, "store", "pack", path, "--out", path, "--overwrite")
    assert (packed["bytes_before"], packed["bytes"]) == (before, path.stat().st_size)


def test_packed_copy_is_imported_as_it_was(tmp_path, capsys):
    path = store_file(tmp_path / "x.h5", environment="E-v0")
    packed = answer(capsys, "store", "pack", path)
    assert packed["out"] == str(tmp_path / "x.packed.h5")
    found = answer(capsys, "store", "import", packed["out"], "--out", tmp_path / "y.h5")
    assert found["fingerprint"] == TrajectoryStore.open(path).fingerprint
    assert answer(capsys, "store", "info", packed["out"])["packed"]
    assert not answer(capsys, "store", "info", tmp_path / "y.h5")["packed"]
    assert answer(capsys, "store", "verify", tmp_path / "y.h5")["findings"] == []


def test_verify_names_the_damage_and_fails(tmp_path, capsys):
    path = store_file(tmp_path / "x.h5")
    content = bytearray(path.read_bytes())
    content[content.find(TrajectoryStore.open(path).actions.base.tobytes()) + 5] ^= 4
    path.write_bytes(content)
    found = answer(capsys, "store", "verify", path, code=1)
    assert found["failed"]
    assert found["findings"][0].startswith("actions: its content is not what was written")


def test_mix_prints_wanted_and_got(tmp_path, capsys):
    a, b = store_file(tmp_path / "a.h5", 30, "a"), store_file(tmp_path / "b.h5", 30, "b")
    words = [
        "store",
        "mix",
        f"{a}:0.25",
        f"{b}:0.75",
        "--transitions",
        "400",
        "--out",
        str(tmp_path / "m.h5"),
    ]
    assert dispatch(words) == 0
    text = capsys.readouterr().out
    assert [line.split()[:3][2] for line in text.splitlines() if ".h5 " in line][:2] == ["100", "300"]
    found = answer(capsys, "store", "info", tmp_path / "m.h5")
    assert set(found["sources"]) == {"a", "b"}
    assert found["transitions"] == pytest.approx(400, abs=20)


def test_mix_of_wrong_shares_leaves_nothing(tmp_path, capsys):
    a = store_file(tmp_path / "a.h5")
    line = refusal(capsys, "store", "mix", f"{a}:0.5", "--transitions", 20, "--out", tmp_path / "m.h5")
    assert line == "error: the shares of a mixture add up to 1; these add up to 0.5"
    assert not (tmp_path / "m.h5").exists()


@pytest.mark.parametrize("form", ["d4rl", "npz", "robomimic"])
def test_export_and_import_give_the_same_episodes(tmp_path, capsys, form):
    path = store_file(tmp_path / "x.h5", environment="Toy-v0")
    answer(capsys, "store", "export", path, "--format", form, "--out", tmp_path / "foreign")
    answer(capsys, "store", "import", tmp_path / "foreign", "--format", form, "--out", tmp_path / "y.h5")
    assert TrajectoryStore.open(tmp_path / "y.h5").fingerprint == TrajectoryStore.open(path).fingerprint


def test_doctor_answers_findings_and_what_an_import_would_do(tmp_path, capsys):
    found = answer(capsys, "store", "doctor", d4rl_file(tmp_path / "x.hdf5"))
    levels = {finding["name"]: finding["level"] for finding in found["findings"]}
    assert levels["dropped_steps"] == "W"
    assert levels["cast_columns"] == levels["reshaped_columns"] == "I"
    assert found["import"]["transitions"] == 147
    assert not found["failed"]


def test_doctor_fails_on_an_error_and_not_after_its_repair(tmp_path, capsys):
    source = d4rl_file(tmp_path / "x.hdf5")
    with h5py.File(source, "r+") as file:
        file["observations"][70, 1] = np.nan
    assert answer(capsys, "store", "doctor", source, code=1)["failed"]
    found = answer(capsys, "store", "doctor", source, "--fix", "--out", tmp_path / "mended.h5")
    assert found["repaired"]["repaired"] == {"steps cut out": 2}
    assert answer(capsys, "store", "doctor", tmp_path / "mended.h5", "--env", "Toy-v0")["failed"] is False


def test_doctor_of_what_is_not_data_is_an_error_of_one_finding(tmp_path, capsys):
    (tmp_path / "page.hdf5").write_text("<!DOCTYPE html><html>403</html>")
    found = answer(capsys, "store", "doctor", tmp_path / "page.hdf5", code=1)
    assert [finding["name"] for finding in found["findings"]] == ["unreadable"]
    assert "web page" in found["findings"][0]["what"]


def test_fix_without_a_name_is_refused(tmp_path, capsys):
    assert "--fix and --out go together" in refusal(
        capsys, "store", "doctor", d4rl_file(tmp_path / "x.hdf5"), "--fix"
    )


def test_commands_start_without_heavy_packages():
    code = (
        "import sys, trajrl.cli.store.command, trajrl.cli.bench.store, trajrl.store.file.writer\n"
        "import trajrl.store.store\n"
        "print([name for name in ('torch', 'h5py', 'pandas', 'faiss', 'rich') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["gather", "store"])
def test_benchmarks_run_small(tmp_path, capsys, command):
    words = ("--transitions", 3000, "--batches", 3, "--batch", 8, "--scratch", tmp_path)
    found = answer(capsys, "bench", command, *words)
    if command == "gather":
        assert found["ram_ms"] > 0
        assert found["mapped_ms"] > 0
        assert set(found) >= {"mapped_ratio", "within_limits", "limit_ms"}
    else:
        assert found["findings"] == 0
        assert found["open_seconds"] < 1
        assert found["open_peak_rss_mb"] < 300
    assert list(tmp_path.iterdir()) == []


def test_export_says_in_words_what_other_readers_will_not_see(tmp_path, capsys):
    path, out = store_file(tmp_path / "x.h5"), tmp_path / "x.hdf5"
    assert dispatch(["store", "export", str(path), "--format", "d4rl", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "other readers will not see: 1 source is named" in said
    assert "[" not in said


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "x.npz")
    assert dispatch(["store", "import", str(tmp_path / "x.npz"), "--out", str(tmp_path / "x.h5")]) == 1
    assert "is a pipe" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("info",), ("doctor",), ("import", "--label", "\x1b[2Jx")])
def test_a_label_with_terminal_escapes_is_printed_harmlessly(capsys, tmp_path, command):
    path = store_file(tmp_path / "a.h5", source="\x1b]0;owned\x07")
    out = ["--out", str(tmp_path / "\x1b[2Jb.h5")] if command[0] == "import" else []
    dispatch(["store", command[0], str(path), *command[1:], *out])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b" in said.out or command[0] == "doctor"


@pytest.mark.parametrize("kind", ["d4rl", "ogbench"])
def test_info_of_a_foreign_file_says_what_it_is_and_what_to_do(capsys, tmp_path, kind):
    path = tmp_path / "x"
    if kind == "d4rl":
        d4rl_file(path)
    else:
        with path.open("wb") as file:
            np.savez(file, observations=np.zeros((3, 2)), actions=np.zeros((3, 2)), terminals=np.zeros(3))
    assert dispatch(["store", "info", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"is data of the format {kind}, not a trajrl store" in said
    assert f"`store import {path} --out X.h5` makes a store of it" in said


def test_clustering_shows_what_it_tries_on_the_threads_of_the_environment(tmp_path, monkeypatch):
    from trajrl.samplers.clustering import fit

    threads, shown, kept = [], [], fit.fit_centres
    monkeypatch.setattr(fit, "fit_centres", lambda *a: (threads.append(a[4]), kept(*a))[1])
    show = "trajrl.cli.store.cluster.progress"
    monkeypatch.setattr(show, lambda items, *words: (shown.append(words), items)[1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = store_file(tmp_path / "a.h5", 30)
    assert dispatch(["store", "cluster", str(path), "--out", str(tmp_path / "b.h5")]) == 0
    assert shown == [("clustering", 2, "counts of clusters")]
    assert set(threads) == {1}


def test_a_label_given_for_a_store_is_that_of_every_episode(capsys, tmp_path):
    path = store_file(tmp_path / "a.h5", source="old")
    assert dispatch(["store", "import", str(path), "--label", "mine", "--out", str(tmp_path / "b.h5")]) == 0
    assert set(TrajectoryStore.open(tmp_path / "b.h5").table.source) == {"mine"}


@pytest.mark.parametrize("option", [("--ends", "flags"), ("--horizon", "5"), ("--split", "all")])
def test_an_option_that_a_store_has_no_use_for_is_refused(capsys, tmp_path, option):
    path = store_file(tmp_path / "a.h5", source="old")
    assert dispatch(["store", "import", str(path), *option, "--out", str(tmp_path / "b.h5")]) == 1
    assert f"the option {option[0][2:]} is for " in capsys.readouterr().err
    assert not (tmp_path / "b.h5").exists()
