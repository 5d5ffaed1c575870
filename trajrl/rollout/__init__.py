"""Acting in environments: collect, evaluate, export."""
