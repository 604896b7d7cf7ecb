"""A Keras model over whole sequences as a static graph."""
