"""D4RL files, in and out."""
