"""One page from the results of one or many devices and models."""
