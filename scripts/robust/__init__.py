"""What damages files on purpose, and watches what becomes of it; needs kgated-edge alone."""
