"""The file format: tensors, manifest, container."""
