"""Export of a model that was trained quantization-aware."""
