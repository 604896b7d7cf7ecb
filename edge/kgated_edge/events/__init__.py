"""From scores per step to events: smoothing, hysteresis, duration, refractory time, priority."""
