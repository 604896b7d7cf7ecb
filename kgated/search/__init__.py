"""The smallest model for a data set that meets the limits of a device: `kgated search`."""
