"""The search space: designs of models, and the Keras model of a design."""
