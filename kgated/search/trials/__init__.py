"""The trials of a search: training of a design, in turns with other processes."""
