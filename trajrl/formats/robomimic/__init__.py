"""robomimic files, in and out."""
