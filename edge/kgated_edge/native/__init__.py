"""C sources of a model as a library of this device: compiled, checked, called."""
