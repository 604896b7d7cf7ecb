"""The report of a search: the chosen file, the Pareto front on the test data, tables, charts."""
