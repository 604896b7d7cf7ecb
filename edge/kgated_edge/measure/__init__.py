"""Latency, and the device's memory, temperature and clock."""
