"""The checks of a graph before an interpreter sees it."""
