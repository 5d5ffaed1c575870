"""Settings by name for the agents that have published ones."""
