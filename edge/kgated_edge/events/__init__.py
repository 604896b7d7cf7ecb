"""Turns scores per step into events: smoothing, hysteresis, duration, refractory time, priority."""
