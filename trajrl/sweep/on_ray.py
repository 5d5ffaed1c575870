"""The Ray engine: Ray Tune places trials on a machine or a cluster, and starts those again that were killed.

A worker runs its trial as the local engine does, in a process that dies with it, and a retry continues from
the checkpoint.  Ctrl-C is a file that all workers look for: each lets its trial save a checkpoint first.
On a cluster the sweep's folder and the package must lie at the same place on every machine.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from trajrl.core.console import say
from trajrl.core.extras import install
from trajrl.core.paths import CHECKOUT
from trajrl.sweep.grid import Trial
from trajrl.sweep.process import OnEnd, Resources, start

VARIABLES = {  # of Ray, where the user has not set them
    "RAY_worker_niceness": "0",  # its own is 15: trials would yield to everything else, as local ones do not
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
KNOCK = 10.0  # seconds that a cluster may take to answer
PAUSE = 0.5  # seconds between a worker's looks at its trial
STORE_BYTES = 100 * 2**20  # of Ray's object store on one machine; trials pass nothing through it


def run(trials: Sequence[Trial], resources: Resources, on_end: OnEnd) -> None:
    """Run trials to their ends on a cluster, or on a Ray of this machine that ends with this process."""
    if resources.address:
        knock(resources.address)
        show_token()
    ray, tune = imported()
    try:
        connect(ray, resources)
        require_room(ray.cluster_resources(), resources)
        room = {"cpu": resources.cpus, **({"gpu": resources.gpus} if resources.gpus else {})}
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(work, cpus=resources.cpus, place=os.getcwd()), room),
            param_space={"trial": tune.grid_search([packed(trial) for trial in trials])},
            tune_config=tune.TuneConfig(max_concurrent_trials=resources.workers or None),
            run_config=tune.RunConfig(
                name="ray", storage_path=str(trials[0].folder.parents[1].resolve()), verbose=0,
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                callbacks=[callback(tune, on_end)],
            ),
        )  # fmt: skip
        with interruptible(stop_file(trials[0])):
            tuner.fit()
    finally:
        ray.shutdown()


def work(config: dict[str, Any], cpus: int, place: str) -> None:
    """Run one trial inside a worker; where its process is killed, fail, so that Ray starts it again."""
    from ray import tune

    trial = unpacked(config["trial"])
    process, stopped = start(trial, cpus, place=place), False
    while process.poll() is None:
        time.sleep(PAUSE)
        if not stopped and stop_file(trial).exists():
            process.send_signal(signal.SIGINT)
            stopped = True
    if stopped:
        return
    if process.returncode < 0:
        raise RuntimeError(f"{trial.name} was killed by signal {-process.returncode}")
    tune.report({"code": process.returncode})


def stop_file(trial: Trial) -> Path:
    """Return the file that asks the workers of a sweep to let their trials save and end."""
    return trial.folder.parents[1] / "stop"


@contextmanager
def interruptible(stop: Path) -> Iterator[None]:
    """Turn Ctrl-C into the file `stop` and an end of Tune's loop, which then waits for the workers.

    Once more, it ends at once.
    """
    stop.unlink(missing_ok=True)

    def note(*signal_and_frame: object) -> None:
        if stop.exists():
            raise KeyboardInterrupt
        stop.touch()
        say("stopping; every trial at work saves a checkpoint, and the same command continues")
        os.kill(os.getpid(), signal.SIGUSR1)  # Tune's own word for it

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
        interrupted = stop.exists()
    finally:
        signal.signal(signal.SIGINT, before)
        stop.unlink(missing_ok=True)
    if interrupted:
        raise KeyboardInterrupt


def imported() -> tuple[Any, Any]:
    """Import Ray, or name the extra that brings it."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray import tune
    except ImportError as error:
        raise ImportError(f"--engine ray needs Ray: {install('ray')}; --engine local does not") from error
    return ray, tune


def connect(ray: Any, resources: Resources) -> None:
    """Join the cluster at an address, or start a Ray of this machine's cores."""
    workers = {"env_vars": {"PYTHONPATH": str(CHECKOUT)} if CHECKOUT else {}}
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if resources.address:
        try:
            ray.init(address=resources.address, runtime_env=workers, **quiet)
        except (ConnectionError, ValueError) as error:
            raise no_answer(resources.address, error) from error
        return
    cores = len(os.sched_getaffinity(0))
    if resources.workers:
        cores = resources.workers * resources.cpus
    ray.init(  # "local": one of its own, whatever else runs on this machine
        address="local", num_cpus=max(cores, resources.cpus), include_dashboard=False,
        object_store_memory=STORE_BYTES, runtime_env=workers, **quiet,
    )  # fmt: skip


def require_room(found: Mapping[str, float], resources: Resources) -> None:
    """Refuse trials that no machine here has room for; a cluster may grow, so there it is only said."""
    for name, asked in (("CPU", resources.cpus), ("GPU", resources.gpus)):
        present = found.get(name, 0.0)
        if asked <= present:
            continue
        what = f"a trial asks for {asked:g} {name}s, and"
        if not resources.address:
            raise ValueError(f"{what} {present:g} are here; lower --{name.lower()}s")
        say(f"{what} the cluster has {present:g}: all wait until it has more")


def knock(address: str) -> None:
    """Fail at once where nobody listens at host:port; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return  # auto, local: names that Ray looks up
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
    except (OSError, OverflowError) as error:
        raise no_answer(address, error) from error


def no_answer(address: str, error: Exception) -> ConnectionError:
    """Say that no cluster was found, why, and what starts one."""
    return ConnectionError(f"no Ray cluster answers at {address} ({error}); `ray start --head` starts one")


def show_token() -> None:
    """Let Ray send the token of its clusters where there is one; given host:port, it would not by itself.

    Ray reads this when it is imported.
    """
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or file.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def callback(tune: Any, on_end: OnEnd) -> Any:
    """Return what Ray calls when a trial ends."""

    class Ended(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **more: Any) -> None:
            on_end(unpacked(trial.config["trial"]), int((trial.last_result or {}).get("code", 0)))

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **more: Any) -> None:
            on_end(unpacked(trial.config["trial"]), -9)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **more: Any) -> None:
            on_end(unpacked(trial.config["trial"]), -9)

    return Ended()


def packed(trial: Trial) -> dict[str, Any]:
    """Return a trial as plain values, with paths that do not depend on the folder one stands in."""
    whole = replace(trial, folder=trial.folder.resolve(), log=trial.log.resolve())
    return {**asdict(whole), "folder": str(whole.folder), "log": str(whole.log)}


def unpacked(values: dict[str, Any]) -> Trial:
    """Undo `packed`."""
    cell = tuple((str(key), str(value)) for key, value in values["cell"])
    paths = {name: Path(values[name]) for name in ("folder", "log")}
    words = {name: tuple(values[name]) for name in ("settings", "words")}
    return Trial(**{**values, **paths, **words, "cell": cell})
