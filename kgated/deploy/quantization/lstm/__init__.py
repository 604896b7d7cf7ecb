"""The fused LSTM operator with float16, int8 or integer weights."""
