"""The names of the cells, for commands that check their options before Keras is imported."""

CELL_NAMES = ("LSTM", "PeepholeLSTM", "GRU", "MinGRU", "MinLSTM")
