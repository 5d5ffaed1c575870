"""Edits of stores: fewer episodes, those of others too, other rewards or other names, in a new file."""
