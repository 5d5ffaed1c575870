"""What every agent shares: the protocol, the learner, networks, candidates, checks."""
