"""Common parts of the deployment benchmarks: timing, tables, and other runtimes."""
