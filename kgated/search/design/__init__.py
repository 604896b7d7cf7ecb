"""What is searched: the designs of models, and a Keras model of each."""
