"""The page that watches a run: what it says of draws, who may read it, and that it changes nothing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
from same_run import assert_same_run
from small_runs import small_online, trained, write_store

from trajrl.cli.main import dispatch
from trajrl.report.draw.watch import Watch, by_age, by_cluster
from trajrl.report.page.watch import Server, write_film, write_state
from trajrl.training import loop

EPISODES = pd.DataFrame({
    "alive": [True] * 6, "phase": ["offline", "offline", "online", "online", "online", "online"],
    "length": [10, 30, 10, 10, 10, 10], "cluster": [0, 1, -1, -1, 1, 1],
})  # fmt: skip
DRAWS = np.array([5, 5, 0, 10, 20, 60])


def test_draws_by_age_part_the_data_from_quarters_of_the_online_steps():
    found = {row["name"]: (row["draws"], row["steps"]) for row in by_age(EPISODES, DRAWS)}
    assert found == {"data": (0.1, 0.5), "newest": (0.6, 0.125), "newer": (0.2, 0.125), "older": (0.1, 0.125),
                     "oldest": (0.0, 0.125)}  # fmt: skip


def test_draws_by_cluster_name_those_without_one():
    found = {row["name"]: row["draws"] for row in by_cluster(EPISODES, DRAWS)}
    assert found == {"none": 0.1, "0": 0.05, "1": 0.85}
    assert by_cluster(EPISODES, np.zeros(6, int)) == []


def get(address: str, host: str = "") -> bytes:
    asked = urllib.request.Request(address, headers={"Host": host} if host else {})
    return urllib.request.urlopen(asked, timeout=20).read()


def test_the_page_is_given_to_this_machine_and_nothing_else_is(tmp_path):
    write_state(tmp_path, "a <run>", {"x": "</script>"})
    (tmp_path / "watch" / "secret.txt").write_text("x")
    (tmp_path / "config.json").write_text("{}")
    server = Server(tmp_path)
    try:
        assert server.address.startswith("http://127.0.0.1:")
        page = get(server.address).decode()
        assert "a &lt;run&gt;" in page
        assert page.count("</script>") == 2
        assert json.loads(get(server.address + "state.json?1")) == {"x": "</script>"}
        for name in ("secret.txt", "../config.json", "episode-1.mp4/../secret.txt", "watch/"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(server.address + name)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(server.address, host="example.org:80")
        with pytest.raises(ValueError, match="give another --watch-port"):
            Server(tmp_path, int(server.address.split(":")[2].strip("/")))
    finally:
        server.close()


def test_films_make_room_for_newer_ones(tmp_path):
    write_state(tmp_path, "run", {})
    names = [write_film(tmp_path, step, b"film") for step in (5, 10, 20)]
    assert sorted(p.name for p in (tmp_path / "watch").glob("*.mp4")) == names[1:]


def test_watching_changes_no_number_of_a_run(tmp_path):
    store = write_store(tmp_path / "x.h5", episodes=4)
    trained(tmp_path / "before", store, agent="td3_bc", steps=6)
    for name in ("seen", "unseen"):
        run = small_online(tmp_path / name, tmp_path / "before", env_steps=60)
        if name == "seen":
            page = Watch(run)
            run.logger.show_on(page)
            run.show_with(page)
        loop.online(run)
    assert_same_run(tmp_path / "seen", tmp_path / "unseen")
    state = json.loads((tmp_path / "seen" / "watch" / "state.json").read_text())
    assert state["ended"]
    assert state["step"] == 60
    assert [one["step"] for one in state["evaluations"]] == [0, 40, 60]
    assert state["film"]["text"].startswith("no film: toy:point gives no frames")
    assert sum(row["draws"] for row in state["by_age"]) == pytest.approx(1)


def test_online_watch_says_where(tmp_path, capsys):
    store = write_store(tmp_path / "x.h5", episodes=4)
    trained(tmp_path / "before", store, agent="td3_bc", steps=6)
    words = ["online", "--from", str(tmp_path / "before"), "--out", str(tmp_path / "on"), "--watch",
             "--env-steps", "40",
             "--set", "eval_episodes=1", "last_eval_episodes=1", "env_timeout=0"]  # fmt: skip
    assert dispatch(words) == 0, capsys.readouterr().err
    assert "watch it at http://127.0.0.1:" in capsys.readouterr().out
    assert "watch" not in json.loads((tmp_path / "on" / "config.json").read_text())
