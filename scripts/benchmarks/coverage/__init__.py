"""The coverage table: each layer and activation of Keras, in each mode and recipe."""
