"""Long recordings with time-stamped events: labels, files, runs, checks."""
