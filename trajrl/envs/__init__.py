"""Environment suites; `make_suite` finds one by name."""
