"""Load tests: deadlines on a schedule, and the capacity for streams."""
