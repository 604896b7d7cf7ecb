"""HTML pages that need no network, with their charts: SVG by Matplotlib, interactive by Plotly."""
