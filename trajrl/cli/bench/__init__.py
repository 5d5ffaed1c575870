"""`bench`: how fast gathering, samplers, stores, updates and evaluations are."""
