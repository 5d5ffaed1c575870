"""Foreign data in, as a stream of episodes, and out again."""
