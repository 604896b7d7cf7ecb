"""Where the trials of a study are stored, and how the processes that run them share them."""
