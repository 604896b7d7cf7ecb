"""The common part of `kgated compare` and `kgated search`: tasks, data, training, trials."""
