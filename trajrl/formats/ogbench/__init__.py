"""OGBench files, in and out."""
