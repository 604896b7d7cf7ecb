"""What a model can learn: targets, metrics, scores of its outputs, and simple baselines."""
