"""One torch thread, and no silent skips: in CI a skip that is not on the committed list fails the run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from trajrl.core.cpu import use_onednn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="trajrl-key-")  # a key of the tests' own

use_onednn()  # as every command does: a run in this process and one in another give the same bits

for name, factor in (("soak-short", 10), ("soak", 100)):
    settings.register_profile(name, max_examples=100 * factor, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> list[str]:
    """Return the reasons that may be skipped for, one a line; at most five."""
    lines = [line.strip() for line in ALLOWED.read_text().splitlines()]
    reasons = [line for line in lines if line and not line.startswith("#")]
    if len(reasons) > 5:
        raise pytest.UsageError(f"{ALLOWED} allows {len(reasons)} skips; five is the most")
    return reasons


def unexpected(reports: list) -> list[str]:
    """Return the skips whose reason is not on the list."""
    reasons = allowed_skips()
    printed = [
        (r.nodeid, r.longrepr[2] if isinstance(r.longrepr, tuple) else str(r.longrepr)) for r in reports
    ]
    return [f"{node}: {text}" for node, text in printed if not any(reason in text for reason in reasons)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run in CI when something was skipped that may not be."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not os.environ.get("CI") or exitstatus not in (0, 1):
        return
    wrong = unexpected(terminal.stats.get("skipped", []))
    if wrong:
        terminal.write_line(f"\n{len(wrong)} skips are not in {ALLOWED.name}:", red=True)
        for line in wrong:
            terminal.write_line(f"  {line}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
