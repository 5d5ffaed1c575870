"""`collect`: whole episodes, the same ones however many environments run, and the demo store it made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trajrl import TrajectoryStore
from trajrl.cli.main import dispatch

ROOT = Path(__file__).parents[2]
EXPERT, MEDIUM = (ROOT / "data" / "policies" / f"hopper-{name}.npz" for name in ("expert", "medium"))


def run(capsys, out, **options):
    """Collect, and return the exit code, the JSON object and what went to standard error."""
    words = {"out": out, "env": "toy:rooms", "policy": "random", "steps": 120, **options}
    argv = [text for name, value in words.items() for text in (f"--{name}", str(value))]
    code = dispatch(["collect", *argv, "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out.splitlines()[-1]) if code == 0 else None, printed.err


def test_whole_episodes_until_enough_steps_are_there(capsys, tmp_path):
    code, found, _ = run(capsys, tmp_path / "x.h5", steps=120)
    store = TrajectoryStore.open(tmp_path / "x.h5")
    assert (code, found["episodes"], found["transitions"]) == (0, 3, 150)
    assert found["fingerprint"] == store.fingerprint
    assert store.table.length.tolist() == [50, 50, 50]
    assert not store.table.terminated.any()
    assert store.table.success.tolist() == [0, 0, 0]
    assert set(store.table.source) == {"random"}


def test_the_file_says_where_it_came_from(capsys, tmp_path):
    run(capsys, tmp_path / "x.h5", seed=3, noise=0.1, source="mine")
    attributes = TrajectoryStore.open(tmp_path / "x.h5").attributes
    assert attributes["environment"] == "toy:rooms"
    assert (attributes["action_low"], attributes["action_high"]) == ([-1.0, -1.0], [1.0, 1.0])
    said = attributes["provenance"]
    assert (said["seed"], said["noise"], said["source"], said["policy"]) == (3, 0.1, "mine", "random")


@pytest.mark.parametrize("policy", ["random", "oracle", EXPERT, MEDIUM])
def test_the_number_of_environments_changes_nothing(capsys, tmp_path, policy):
    env = "toy:rooms" if policy in ("random", "oracle") else "Hopper-v4"
    prints = set()
    for envs in (1, 3):
        run(capsys, tmp_path / f"{envs}.h5", policy=policy, env=env, envs=envs, noise=0.2, steps=300)
        prints.add(TrajectoryStore.open(tmp_path / f"{envs}.h5").fingerprint)
    run(capsys, tmp_path / "other.h5", policy=policy, env=env, noise=0.2, steps=300, seed=1)
    prints.add(TrajectoryStore.open(tmp_path / "other.h5").fingerprint)
    assert len(prints) == 2


def test_the_expert_is_an_expert_and_the_medium_one_is_not(capsys, tmp_path):
    _, expert, _ = run(capsys, tmp_path / "e.h5", policy=EXPERT, env="Hopper-v4", steps=2500)
    _, medium, _ = run(capsys, tmp_path / "m.h5", policy=MEDIUM, env="Hopper-v4", steps=1200)
    assert expert["return_mean"] > 2500
    assert 800 < medium["return_mean"] < 1700
    store = TrajectoryStore.open(tmp_path / "e.h5")
    assert ((store.table.length == 1000) == ~store.table.terminated).all()


def test_a_run_that_acts_under_other_options_than_it_was_trained_under_says_so(capsys, tmp_path):
    from small_runs import trained, write_store

    trained(tmp_path / "run", write_store(tmp_path / "x.h5", 4), agent="td3_bc", **{"env.frame_skip": 2})
    words = {"env": "toy:point", "policy": tmp_path / "run", "steps": 20}
    said = run(capsys, tmp_path / "a.h5", **words)[2]
    assert f"{tmp_path / 'run'} was trained under other options: --set env.frame_skip=2" in said
    assert "trained under" not in run(capsys, tmp_path / "b.h5", **words, set="env.frame_skip=2")[2]


def test_an_oracle_labels_its_own(capsys, tmp_path):
    code, found, _ = run(capsys, tmp_path / "x.h5", policy="oracle", steps=1000)
    assert code == 0
    assert 0 < found["success_mean"] < 0.6
    assert (found["source"], found["terminated"] + found["truncated"]) == ("oracle", found["episodes"])


@pytest.mark.parametrize(
    ("env", "apart", "said"),
    [("sample_envs:line", "0", True), ("sample_envs:line", "30", False), ("toy:point", "0", False)],
)
def test_an_environment_of_one_s_own_is_told_how_to_run_apart(capsys, tmp_path, env, apart, said):
    found = run(capsys, tmp_path / "x.h5", env=env, steps=5, envs=1, set=f"env.env_timeout={apart}")
    assert found[0] == 0
    assert ("runs in this process and could end it" in found[2]) == said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"env": "Hoper-v4"}, "did you mean 'Hopper-v4'"),
        ({"policy": "expert.npz"}, "no policy 'expert.npz'"),
        ({"policy": "hopper-expert"}, "policies/hopper-expert.npz"),
        ({"policy": EXPERT}, "acts on (obs, act) of (11, 3) numbers; toy:rooms has (4, 2)"),
        ({"policy": ROOT / "data"}, "not a run directory"),
        ({"policy": "oracle", "env": "Hopper-v4"}, "no scripted oracle"),
        ({"steps": 0}, "--steps is at least 1"),
        ({"noise": -1}, "--noise is at least 0"),
        ({"noise": "inf"}, "--noise is at least 0 and finite"),
        ({"noise": "nan"}, "--noise is at least 0 and finite"),
        ({"epsilon": 2}, "--epsilon is a share"),
        ({"epsilon": "nan"}, "--epsilon is a share"),
        ({"seed": -1}, "--seed must not be negative; got -1"),
        ({"recipe": "medium"}, "give --policy or --recipe"),
        ({"policy": "", "recipe": "medum"}, "did you mean 'medium'"),
        ({"policy": "", "recipe": "expert"}, "needs"),
        ({"set": "agent.width=3"}, "belongs to a run that learns"),
        ({"policy": "oracle", "set": "env.time_limit=5"}, "leave --set env.time_limit=5 out"),
        ({"policy": "", "recipe": "expert", "source": "mine"}, "leave --source out"),
        ({"policy": "", "recipe": "medium-replay", "epsilon": 0.1}, "leave --epsilon out"),
        ({"policy": "", "recipe": "medium-replay", "set": "eval_ever=5"}, "did you mean 'eval_every'"),
        ({"policy": "", "recipe": "medium-replay", "set": "agent.widht=5"}, "did you mean 'width'"),
        ({"env": "sample_envs:breaking"}, "failed at step 1 of episode"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(capsys, tmp_path, options, words):
    code, _, said = run(capsys, tmp_path / "x.h5", **options)
    last = said.splitlines()[-1]
    assert code == 1
    assert last.startswith("error: ")
    assert words in last
    assert not (tmp_path / "x.h5").exists()
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= ({"x.h5.collecting"} if "failed at" in words else set())  # whole episodes can be resumed


def test_the_demo_store_is_what_its_readme_says():
    path = ROOT / "data" / "hopper-skewed.h5"
    store, readme = TrajectoryStore.open(path), (ROOT / "data" / "README.md").read_text()
    expert = store.table.source == "expert"
    assert path.stat().st_size < 6_000_000
    assert 30_000 < store.num_steps < 40_000
    assert store.table.length[expert].sum() / store.num_steps == pytest.approx(0.25, abs=0.01)
    assert set(store.table.source) == {"expert", "medium"}
    assert ((store.table.length == 1000) == ~store.table.terminated).all()
    assert np.abs(store.actions.slice(0, store.num_steps)).max() <= 1
    assert store.fingerprint in readme
    assert f"{int(store.table.length[expert].sum()):,}" in readme
    assert store.attributes["environment"] == "Hopper-v4"


@pytest.mark.slow
def test_the_demo_store_can_be_made_again(capsys, tmp_path):
    """Processors round differently and Hopper is chaotic, so it is the beginnings that must be the same."""
    kept = TrajectoryStore.open(ROOT / "data" / "hopper-skewed.h5")
    for seed, (policy, source, steps) in enumerate([(EXPERT, "expert", 20_000), (MEDIUM, "medium", 30_000)]):
        out = tmp_path / f"{source}.h5"
        run(capsys, out, env="Hopper-v4", policy=policy, steps=steps, seed=seed, source=source)
        made = TrajectoryStore.open(out)
        of_start = {made.episode(number).obs[0].tobytes(): number for number in range(len(made))}
        chosen = np.flatnonzero(kept.table.source == source)
        for episode in map(kept.episode, chosen):
            again = made.episode(of_start[episode.obs[0].tobytes()])
            np.testing.assert_allclose(again.obs[:8], episode.obs[:8], atol=1e-4)
            np.testing.assert_allclose(again.actions[:8], episode.actions[:8], atol=1e-4)
        assert made.table.returns.mean() == pytest.approx(kept.table.returns[chosen].mean(), rel=0.1)
    parts = [f"{tmp_path}/expert.h5:0.25", f"{tmp_path}/medium.h5:0.75"]
    assert dispatch(["store", "mix", *parts, "--transitions", "36000", "--out", f"{tmp_path}/mixed.h5"]) == 0
    assert TrajectoryStore.open(tmp_path / "mixed.h5").num_steps == pytest.approx(kept.num_steps, rel=0.02)


def test_a_recording_is_not_replaced_unasked(capsys, tmp_path):
    run(capsys, tmp_path / "x.h5")
    before = (tmp_path / "x.h5").read_bytes()
    code, _, said = run(capsys, tmp_path / "x.h5", seed=1)
    assert code == 1
    assert "exists; choose another name or add --overwrite" in said
    assert (tmp_path / "x.h5").read_bytes() == before
    argv = f"collect --env toy:rooms --policy random --steps 50 --out {tmp_path / 'x.h5'} --overwrite"
    assert dispatch(argv.split()) == 0


def test_what_is_no_store_is_not_recorded_over(capsys, tmp_path):
    (tmp_path / "x.h5").write_text("my notes")
    argv = f"collect --env toy:rooms --policy random --steps 50 --out {tmp_path / 'x.h5'} --overwrite"
    assert dispatch(argv.split()) == 1
    assert "is not a store of trajrl" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]
