"""Convert a Keras model to `.tflite`: the same as `kgated convert`."""

import sys

from kgated_cli import main

main(["convert", *sys.argv[1:]])
