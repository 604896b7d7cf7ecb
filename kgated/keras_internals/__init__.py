"""What kgated needs of Keras and TensorFlow beside their public interfaces, in one place."""
