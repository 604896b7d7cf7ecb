"""The table of what converts: each layer and activation of Keras, in each mode and recipe."""
