"""RLDS episodes in TFDS records, in."""
