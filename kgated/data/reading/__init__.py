"""Reads recordings and their labels: CSV files of sensors, sound files, tables of labels."""
