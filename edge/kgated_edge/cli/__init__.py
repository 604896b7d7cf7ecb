"""The `kgated-edge` command."""
