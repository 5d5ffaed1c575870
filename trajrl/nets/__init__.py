"""Networks and the mathematics of policies and targets: torch only, never the store."""
