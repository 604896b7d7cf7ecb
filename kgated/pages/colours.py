"""The colours of charts."""

# Okabe and Ito's palette, which colour-blind people can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, INK, GRID = "#6b6b6b", "#222222", "#dddddd"


def series_colour(n: int) -> str:
    """The colour of series n, from 0; the palette begins again after its last colour."""
    return PALETTE[n % len(PALETTE)]
