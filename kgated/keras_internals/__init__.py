"""The only package that uses Keras and TensorFlow beyond their public interfaces."""
