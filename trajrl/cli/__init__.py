"""The command line: one file per command.

A command imports what is heavy (torch, h5py, pandas, gymnasium) inside functions: its help is light.
"""
