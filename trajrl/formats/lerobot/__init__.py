"""LeRobot data sets, versions 2 and 3, in and out."""
