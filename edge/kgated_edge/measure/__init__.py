"""Latency, device facts, memory, temperature and clock."""
