"""The ranges of the hyperparameters that a comparison and a search try."""

LEARNING_RATES, DROPOUTS = (5e-4, 2e-2), (0.0, 0.5)
# Strengths of the augmentation, relative to `kgated train`: the range, and the first two.
AUGMENTATIONS, FIRST_AUGMENTATIONS = (0.0, 1.0), (1.0, 0.1)
