"""Generation of damaged files, and monitoring of the workers that open them.

It needs only kgated-edge.
"""
