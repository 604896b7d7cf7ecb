"""A static page that runs a streaming `.tflite` file in the browser, with LiteRT.js."""

from kgated.web.site import build_site

__all__ = ["build_site"]
