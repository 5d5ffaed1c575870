"""`store`: import, export, inspect, repair, mix, pack, verify and cluster stores."""
