"""One HDF5 file on disk: read, write, pack, verify and describe it."""
