"""The demo of the cells: each is trained, converted and checked on one data set of speech."""
