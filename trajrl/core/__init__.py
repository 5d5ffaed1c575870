"""What every room stands on: random streams, registries, the console, processes, processors, files."""
