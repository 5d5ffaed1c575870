"""The online phase: exact resume, durable episodes, the sampler share, and what a run reports."""

import json

import pytest
from faults import run_and_kill
from same_run import assert_same_run, same_tree
from small_runs import ONLINE_RUN, reopened, small_online, trained, write_store

from trajrl.report import frames
from trajrl.report.page.overview import online_table
from trajrl.store.journal import replay
from trajrl.training import build, evaluation, loop, resume
from trajrl.training.run_dir import folder
from trajrl.training.run_dir.csv_log import read_csv


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "point.h5")


@pytest.fixture(scope="module")
def sources(store, tmp_path_factory):
    """Return the offline run of an agent, made once."""
    made = {}

    def source(agent):
        if agent not in made:
            made[agent] = tmp_path_factory.mktemp("offline") / agent
            trained(made[agent], store, agent=agent, steps=10)
        return made[agent]

    return source


@pytest.fixture(scope="module")
def whole(sources, tmp_path_factory):
    """Return the uninterrupted online run of an agent, made once."""
    made = {}

    def run(agent, envs):
        if (agent, envs) not in made:
            made[agent, envs] = tmp_path_factory.mktemp("online") / agent
            loop.online(small_online(made[agent, envs], sources(agent), envs=envs))
        return made[agent, envs]

    return run


def go_on(run, env_steps):
    """Run the loop up to an environment step and leave it as a kill would."""
    config = run.config
    if not run.evaluations.entries:
        loop.evaluate_before(run)
    while run.clock < env_steps:
        loop.online_step(run)
    assert run.clock < config.env_steps
    run.online.collector.close()
    run.logger.close()


def journal(folder) -> bytes:
    return (folder / "journal" / "episodes.journal").read_bytes()


RESUMED = [("acfql", 1), ("acfql", 3), ("rlpd", 3), ("td3_bc", 1), ("trajectory_ql", 3)]


@pytest.mark.parametrize(("agent", "envs"), RESUMED)
def test_a_stopped_and_resumed_run_is_the_same_run(sources, whole, tmp_path, agent, envs):
    go_on(small_online(tmp_path / "parts", sources(agent), envs=envs), env_steps=68)
    resumed = reopened(tmp_path / "parts")
    collector = resumed.online.collector
    assert resumed.clock in (56, 57)
    assert any(collector.rollout.open)
    assert collector.repeatable
    loop.online(resumed)
    assert collector.repeatable
    assert not collector.unknown
    assert_same_run(whole(agent, envs), tmp_path / "parts")
    assert journal(whole(agent, envs)) == journal(tmp_path / "parts")


def test_episodes_behind_the_checkpoint_are_made_again_and_compared(sources, whole, tmp_path):
    go_on(small_online(tmp_path / "parts", sources("acfql"), checkpoint_every=1000), env_steps=68)
    before = journal(tmp_path / "parts")
    resumed = reopened(tmp_path / "parts")
    assert resumed.clock == 0
    assert len(resumed.online.collector.unknown) >= 2
    loop.online(resumed)
    assert resumed.online.collector.repeatable
    assert journal(tmp_path / "parts").startswith(before)
    assert journal(whole("acfql", 1)) == journal(tmp_path / "parts")


def test_a_run_stopped_before_its_first_checkpoint_is_the_same_run(sources, whole, tmp_path):
    run = small_online(tmp_path / "parts", sources("acfql"))
    evaluation.evaluate_and_keep(run, last=True)
    loop.log(run, None)
    run.online.collector.close()
    loop.online(reopened(tmp_path / "parts"))
    assert_same_run(whole("acfql", 1), tmp_path / "parts")


@pytest.mark.parametrize("envs", [1, 3])
def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(sources, whole, tmp_path, envs):
    words = [
        "online",
        "--from",
        str(sources("acfql")),
        "--resume-or-start",
        "--out",
        str(tmp_path / "killed"),
    ]
    words += ["--set", *(f"{name}={value}" for name, value in {**ONLINE_RUN, "envs": envs}.items())]
    for writes in (40, 25)[: 3 - envs or 1]:  # with one environment it dies, continues and dies again
        run_and_kill(["run.py", *words], under=tmp_path / "killed", after_writes=writes)
    loop.online(reopened(tmp_path / "killed"))
    assert_same_run(whole("acfql", envs), tmp_path / "killed")
    assert journal(whole("acfql", envs)) == journal(tmp_path / "killed")


def test_every_episode_is_in_the_journal_when_the_next_begins(sources, tmp_path):
    run = small_online(tmp_path / "a", sources("acfql"))
    while run.online.collector.rollout.next_episode < 3:
        loop.online_step(run)
    found = [meta["episode"] for _, meta in replay(tmp_path / "a" / "journal" / "episodes.journal")]
    assert found == [0, 1]
    run.online.collector.close()


def test_the_phase_switch_keeps_the_agent_and_what_was_counted(sources, tmp_path):
    run = small_online(tmp_path / "a", sources("td3_bc"))
    offline = build.build(build.RunConfig.load(sources("td3_bc") / "config.json"), tmp_path)
    resume.restore(offline, folder.newest(sources("td3_bc")))
    assert run.step == offline.step == 10
    assert run.agent.updates == offline.agent.updates == 10
    assert run.agent.critic_optimiser.count == 10
    assert run.episode_stats.frame()["draws"].sum() == offline.episode_stats.frame()["draws"].sum()
    assert run.clock == 0
    run.online.collector.close()


def test_the_journal_is_all_that_a_run_directory_has_besides(sources, whole):
    offline = {path.name for path in sources("acfql").iterdir()}
    assert {path.name for path in whole("acfql", 1).iterdir()} == offline | {"journal"}


def test_before_and_after_are_scored_over_as_many_episodes(sources, tmp_path):
    run = small_online(tmp_path / "a", sources("td3_bc"), eval_episodes=1, last_eval_episodes=3)
    loop.online(run)
    steps = [int(row["step"]) for row in read_csv(tmp_path / "a" / "evals.csv")]
    assert [steps.count(step) for step in (0, 40, 72)] == [3, 1, 3]


def test_updates_are_counted_apart_from_environment_steps(sources, whole):
    rows = read_csv(whole("acfql", 1) / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [0, 10, 20, 30, 40, 50, 60, 70, 72]
    assert [float(row["online/count/updates"]) for row in rows] == [0, 0, 0, 10, 20, 30, 40, 50, 52]
    assert float(rows[-1]["online/count/steps"]) == 10 + 52
    assert float(rows[-1]["online/sampler_share/updates"]) == pytest.approx(33 / 52)
    evals = sorted({int(row["step"]) for row in read_csv(whole("acfql", 1) / "evals.csv")})
    assert evals == [0, 40, 72]


def test_half_an_update_per_step_makes_half_as_many(sources, tmp_path):
    run = small_online(tmp_path / "a", sources("td3_bc"), utd=0.5)
    loop.online(run)
    assert run.online.updates == 26


def test_the_summary_says_what_the_online_phase_cost(whole):
    found = json.loads((whole("acfql", 1) / "summary.json").read_text())["online"]
    assert found["before"] + found["gain"] == pytest.approx(found["last"])
    assert sum(found["rows"].values()) == pytest.approx(1)
    assert found["rows"]["online"] > 0
    assert (found["env_steps"], found["updates"], found["failures"]) == (72, 52, 0)


def test_tensorboard_ends_with_the_numbers_of_the_summary_and_the_report(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = whole("acfql", 1)
    found = json.loads((folder / "summary.json").read_text())["online"]
    events = EventAccumulator(str(folder / "tb")).Reload()
    shown = {name: events.Scalars(f"online/finetune/{name}")[-1].value for name in ("gain", "drop", "regret")}
    assert shown == pytest.approx({name: found[name] for name in shown}, rel=1e-5)
    assert found["gain"] != 0
    runs = frames.load_runs(folder)
    table = online_table(runs, frames.evals(runs)).rows.iloc[0]
    assert {name: table[name] for name in shown} == pytest.approx(shown, abs=0.006)
    assert [event.step for event in events.Scalars("online/eval/score")] == [0, 40, 72]


def drawn_online(run, monkeypatch) -> list[float]:
    """Return the online share of every batch of a run."""
    shares = []

    def note(episode, by_sampler):
        shares.append(float((run.store.table.phase[episode] == 1).mean()))

    monkeypatch.setattr(run.online.rows, "add", lambda episode: note(episode, True))
    go_on(run, env_steps=68)
    return shares


@pytest.mark.parametrize(
    ("mode", "share"), [("mix", {0.75}), ("drop", {1.0})]
)  # in 16 rows, with offline_fraction 0.25
def test_every_batch_has_the_exact_share(sources, tmp_path, monkeypatch, mode, share):
    run = small_online(
        tmp_path / "a", sources("td3_bc"), offline_mode=mode, offline_fraction=0.25, learning_starts=40
    )
    assert set(drawn_online(run, monkeypatch)) == share


def test_the_offline_share_anneals(sources, tmp_path, monkeypatch):
    run = small_online(
        tmp_path / "a", sources("td3_bc"), offline_mode="anneal", offline_fraction=1.0, learning_starts=40
    )
    shares = drawn_online(run, monkeypatch)
    assert shares[0] == 0.0
    assert shares[-1] >= 0.75
    assert shares == sorted(shares)


def test_the_offline_side_of_a_mixture_goes_on_where_it_stood(sources, tmp_path):
    run = small_online(tmp_path / "a", sources("td3_bc"), offline_mode="mix")
    offline = build.build(build.RunConfig.load(sources("td3_bc") / "config.json"), tmp_path)
    resume.restore(offline, folder.newest(sources("td3_bc")))
    assert same_tree(run.sampler.sides["offline"].state_dict(), offline.sampler.state_dict())
    assert run.sampler.sides["offline"] is run.online.warmup_sampler.sides["offline"]
    run.online.collector.close()
