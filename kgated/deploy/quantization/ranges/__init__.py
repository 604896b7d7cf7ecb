"""Ranges of tensors: recorded over calibration sequences, made robust, and corrected."""
