"""Doctor: what is wrong with data, how much of it, what that does to learning, what a repair changes.

report = examine(lambda: open_source("hopper_medium-v2.hdf5"))
for finding in report.findings: print(finding.line())
repair(report, Path("mended.h5"))
"""

from trajrl.formats.doctor.examine import Report, examine
from trajrl.formats.doctor.finding import Finding
from trajrl.formats.doctor.repair import repair

__all__ = ["Finding", "Report", "examine", "repair"]
