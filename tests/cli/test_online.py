"""`online` from the command line: which run it continues from, what it refuses, how it stops."""

import json
import shutil
from dataclasses import replace

import pytest
from small_runs import ONLINE_RUN, settings, small_online, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.cli.online import schedule
from trajrl.training.config import RunConfig
from trajrl.training.resolve_online import online_config
from trajrl.training.run_dir.folder import newest_run

FEW = [f"{name}={value}" for name, value in {**ONLINE_RUN, "env_steps": 24, "eval_episodes": 1}.items()]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def offline(store, tmp_path_factory):
    """Return two offline runs in a folder called runs: the older of td3_bc, the newer of acfql."""
    folder = tmp_path_factory.mktemp("place") / "runs"
    for agent in ("td3_bc", "acfql"):
        trained(folder / agent, store, agent=agent, steps=5)
    return folder


def test_the_newest_run_that_fits_is_taken(offline, monkeypatch, capsys):
    monkeypatch.chdir(offline.parent)
    assert newest_run(offline, {}).name == "acfql"
    assert newest_run(offline, {"agent": "td3_bc"}).name == "td3_bc"
    assert newest_run(offline, {}, ["agent.chunk=1"]) is None
    assert newest_run(offline, {}, ["agent.chunk=5"]).name == "acfql"
    assert newest_run(offline, {"seed": 4}) is None
    (offline / "broken").mkdir()
    (offline / "broken" / "summary.json").write_text("{}")
    assert newest_run(offline, {}).name == "acfql"
    shutil.rmtree(offline / "broken")


def test_runs_that_trained_together_are_found_as_those_alone_are(store, tmp_path):
    for seed in (3, 4):
        trained(tmp_path / "acfql" / f"s{seed}", store, agent="acfql", steps=5, seed=seed)
    assert newest_run(tmp_path, {"seed": 3}) == tmp_path / "acfql" / "s3"
    assert newest_run(tmp_path, {}) == tmp_path / "acfql" / "s4"


def test_without_more_words_it_goes_on_from_the_newest(offline, monkeypatch, capsys):
    monkeypatch.chdir(offline.parent)
    assert dispatch(["online", "--json", "--set", *FEW]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    config = RunConfig.load(offline.parent / answer["run"] / "config.json")
    assert (config.agent, config.from_run, config.first_step) == ("acfql", "runs/acfql", 5)
    assert (config.sampler, config.offline_sampler) == ("priority", "cluster")
    assert answer["online"]["env_steps"] == 24
    assert not answer["failed"]


def test_where_no_scale_belongs_to_the_environment_success_is_reported(tmp_path, capsys):
    trained(tmp_path / "run", write_store(tmp_path / "x.h5", 4, "sample_envs:line"), agent="td3_bc", steps=5)
    words = ["online", "--from", str(tmp_path / "run"), "--out", str(tmp_path / "on"), "--set", *FEW]
    assert dispatch(words) == 0
    assert "success 100% before, 100% at the end" in capsys.readouterr().out


def test_without_a_run_a_short_offline_phase_comes_first(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["online", "--data", str(store), "--agent", "td3_bc", "--preset", "demo", "--steps", "4"]
    assert (
        dispatch([*words, "--out", "a", "--set", *FEW, *(s for s in settings("td3_bc") if "agent" in s)]) == 0
    )
    assert RunConfig.load(tmp_path / "a-offline" / "config.json").steps == 4
    assert RunConfig.load(tmp_path / "a" / "config.json").from_run == "a-offline"
    assert "a short offline phase runs first" in capsys.readouterr().out


def test_options_of_the_online_phase_are_told_apart(offline):
    config = online_config(offline / "acfql", {"metric": "return", "preset": "demo"}, [])
    assert config.sampler_options["metric"] == "return"
    assert "metric" not in config.offline_sampler_options
    assert (config.offline_mode, config.env_steps, config.env_timeout) == ("mix", 4_000, 0.0)
    published = online_config(offline / "acfql", {"preset": "standard"}, [])
    assert (published.env_steps, published.eval_every, published.eval_episodes) == (1_000_000, 100_000, 50)
    assert (published.learning_starts, published.warmup_steps) == (5_000, 20_000)


def test_published_chunks_are_drawn_uniformly_online_unless_asked(offline):
    source = offline / "acfql"
    assert online_config(source, {"preset": "qc"}, []).sampler == "uniform"
    assert online_config(source, {"preset": "qc", "metric": "return"}, []).sampler == "priority"
    assert online_config(source, {"preset": "qc", "sampler": "cluster"}, []).sampler == "cluster"
    assert online_config(source, {"preset": "standard"}, []).sampler == "priority"


@pytest.mark.parametrize("again", [False, True])
def test_another_sampler_of_the_offline_share_takes_none_of_the_old_ones_options(offline, tmp_path, again):
    source, chosen = offline / "acfql", {"offline_sampler": "uniform"}
    as_before = online_config(source, {}, [])
    as_before.save(tmp_path / "config.json")
    assert as_before.offline_sampler_options  # of cluster, by the demo preset
    file = tmp_path / "config.json" if again else None
    config = online_config(source, chosen, [], file)
    assert (config.offline_sampler, config.offline_sampler_options) == ("uniform", {})


def test_another_sampler_of_the_offline_share_keeps_its_own_law(offline, tmp_path):
    changes = {"offline_mode": "mix", "offline_sampler": "uniform"}
    run = small_online(tmp_path / "a", offline / "acfql", **changes)
    length = run.store.table.length
    assert run.sampler.sides["offline"].probabilities() == pytest.approx(length / length.sum())
    run.online.collector.close()


@pytest.mark.parametrize("preset", ["demo", "standard", "paper"])
def test_batches_of_rlpd_are_half_offline_under_every_preset(store, tmp_path, preset):
    trained(tmp_path / "a", store, agent="rlpd", steps=2)
    config = online_config(tmp_path / "a", {"preset": preset}, [])
    assert (config.offline_mode, config.offline_fraction, config.begin_with) == ("mix", 0.5, "random")
    asked = online_config(tmp_path / "a", {"preset": preset, "offline_fraction": 0.2}, [])
    assert asked.offline_fraction == 0.2


@pytest.mark.parametrize(
    ("words", "decay", "steps"),
    [
        ([], "none", 5),
        (["agent.decay=update"], "update", 5 + 1000),
        (["agent.decay=epoch", "agent.decay_steps=70"], "epoch", 70),
    ],
)
def test_learning_rates_do_not_stay_where_the_offline_decay_left_them(offline, words, decay, steps):
    source = offline / "acfql"
    config = online_config(source, {"env_steps": 500}, [*words, "utd=2"])
    assert config.agent_options["decay"] == decay
    assert config.agent_options["decay_steps"] == steps


@pytest.mark.parametrize(
    ("preset", "asked", "start"),
    [
        ("standard", {"env_steps": 1_000}, (125, 250)), ("standard", {}, (5_000, 20_000)),
        ("demo", {}, (500, 1_000)), ("demo", {"env_steps": 400}, (50, 100)),
        ("standard", {"env_steps": 2_000, "learning_starts": 1_900}, (1_900, 1_914)),
        ("standard", {"env_steps": 2_000, "warmup_steps": 0}, (250, 0)),
    ],
)  # fmt: skip
def test_the_start_of_a_short_phase_is_in_proportion(offline, preset, asked, start):
    config = online_config(offline / "acfql", {"preset": preset, **asked}, [])
    assert (config.learning_starts, config.warmup_steps) == start


def test_a_phase_says_before_it_starts_how_much_it_learns(offline, capsys):
    config = online_config(offline / "acfql", {"preset": "standard", "env_steps": 1_000, "utd": 2.0}, [])
    assert capsys.readouterr().out == (
        "the phase is short, 1000 environment steps: "
        "learning_starts 125 instead of 5000, warmup_steps 250 instead of 20000, "
        "eval_every 200 instead of 100000, checkpoint_every 200 instead of 10000\n"
    )
    assert schedule(config) == (
        "1000 environment steps, learning from step 125 on: 1750 updates; "
        "draws are uniform until step 250, then priority"
    )
    assert schedule(replace(config, learning_starts=1_000)).startswith(
        "nothing is learned: --learning-starts 1000"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--agent", "sac"], "has agent acfql; got --agent sac"),
        (["--utd", "0"], "utd must be above 0"),
        (["--utd", "inf"], "utd must be a finite number"),
        (["--explore-noise", "nan"], "explore_noise takes a number; got nan"),
        (["--preset", "fast"], "no preset of acfql 'fast'"),
        (["--offline-fraction", "1.5"], "a share between 0 and 1"),
        (["--sampler", "priorty"], "did you mean 'priority'"),
        (["--env", "sample_envs:dict_obs"], "Dict observations"),
        (["--env", "sample_envs:image_obs"], "image observations"),
    ],
)
def test_a_bad_word_fails_with_one_line(offline, tmp_path, capsys, words, reason):
    assert dispatch(["online", "--from", str(offline / "acfql"), "--out", str(tmp_path / "a"), *words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert reason in said[-1]
    assert said[-1].startswith("error: ")


def test_what_is_no_run_is_told_so(store, tmp_path, capsys):
    for place in (store, tmp_path):
        assert dispatch(["online", "--from", str(place), "--out", str(tmp_path / "a")]) == 1
        said = capsys.readouterr().err.splitlines()
        assert said == [f"error: {place} is not a run directory: it has no config.json"]


def test_too_many_failures_end_with_a_checkpoint_and_one_line(tmp_path, monkeypatch, capsys):
    import numpy as np

    from trajrl.core.trust import allow
    from trajrl.store.episode import Episode
    from trajrl.store.file.writer import StoreWriter
    from trajrl.training.run_dir.checkpoint import newest

    monkeypatch.chdir(tmp_path)
    allow(["sample_envs:uneven"])
    with StoreWriter(
        tmp_path / "line.h5", {"environment": "sample_envs:uneven", "actions_scaled": True}
    ) as writer:
        for _ in range(4):
            writer.append(Episode(np.zeros((5, 2)), np.zeros((4, 1)), np.ones(4), True))
    trained(tmp_path / "off", tmp_path / "line.h5", agent="td3_bc", sampler="uniform", steps=3)
    words = ["online", "--from", "off", "--env", "sample_envs:breaking_later", "--max-failures", "2"]
    assert dispatch([*words, "--out", "a", "--json", "--set", *FEW, "eval_every=0", "env_steps=400"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out.splitlines()[-1])
    assert answer["failed"]
    assert answer["stop_reason"].startswith("2 environments failed")
    assert "stopped: 2 environments failed" in printed.err
    assert newest(tmp_path / "a" / "checkpoints") is not None
    assert answer["online"]["failures"] == 2
