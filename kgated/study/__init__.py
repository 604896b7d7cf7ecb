"""What `kgated compare` and `kgated search` share: tasks, data, training, trials, measurement."""
