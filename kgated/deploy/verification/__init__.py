"""A file is run on sequences and compared with the Keras model."""
