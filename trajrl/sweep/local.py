"""The local engine: as many trials at a time as this machine has room for, the next when one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence

from trajrl.sweep.grid import Trial
from trajrl.sweep.process import OnEnd, Resources, start

PAUSE = 0.1  # seconds between looks at the processes


def run(trials: Sequence[Trial], resources: Resources, on_end: OnEnd) -> None:
    """Run trials to their ends; Ctrl-C lets each save a checkpoint first."""
    waiting, free = deque(trials), slots(resources)
    killed = dict.fromkeys((trial.name for trial in trials), 0)
    running: list[tuple[subprocess.Popen[bytes], Trial, str | None]] = []
    try:
        while waiting or running:
            while waiting and free:
                trial, gpus = waiting.popleft(), free.pop()
                running.append((start(trial, resources.cpus, gpus), trial, gpus))
            time.sleep(PAUSE)
            for entry in [one for one in running if one[0].poll() is not None]:
                running.remove(entry)
                process, trial, gpus = entry
                free.append(gpus)
                on_end(trial, process.returncode)
                killed[trial.name] += process.returncode < 0
                if process.returncode < 0 and killed[trial.name] <= resources.retries:
                    waiting.append(trial)
    finally:
        for process, _, _ in running:
            process.send_signal(signal.SIGINT)
        for process, _, _ in running:
            process.wait()


def slots(resources: Resources) -> list[str | None]:
    """Return a place per trial at a time: the GPUs that it sees, None where it asks for none."""
    places = max(1, len(os.sched_getaffinity(0)) // resources.cpus)
    if not resources.gpus:
        return [None] * (resources.workers or places)
    import torch

    gpus = torch.cuda.device_count()
    if resources.gpus < 1:
        found = [str(gpu) for gpu in range(gpus) for _ in range(int(1 / resources.gpus))]
    else:
        each = int(resources.gpus)
        groups = [range(first, first + each) for first in range(0, gpus - each + 1, each)]
        found = [",".join(map(str, group)) for group in groups]
    if not found:
        raise ValueError(f"a trial asks for {resources.gpus:g} GPUs, and {gpus} are here; lower --gpus")
    return list(found[: resources.workers or min(places, len(found))])
