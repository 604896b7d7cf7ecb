"""Real-time runs: deadlines and many streams."""
