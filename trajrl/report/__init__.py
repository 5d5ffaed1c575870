"""What the runs say: pandas frames, statistics, figures, one HTML file."""
