"""What the benchmarks of deployment share: timing, tables, and what stands beside us."""
