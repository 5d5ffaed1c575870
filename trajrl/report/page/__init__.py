"""The page: blocks, contents, overview and their HTML."""
