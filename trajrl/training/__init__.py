"""The loop of a run and all that it needs: config, data, resume, online, guards."""
