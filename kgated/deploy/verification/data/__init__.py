"""The sequences that a conversion is calibrated and verified on, and what describes them."""
