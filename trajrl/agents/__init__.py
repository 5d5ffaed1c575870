"""Agents: one algorithm per file; `make_agent` builds one by name."""
