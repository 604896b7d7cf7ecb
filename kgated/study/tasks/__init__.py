"""The tasks of models: targets, metrics, scores of outputs, and baselines."""
