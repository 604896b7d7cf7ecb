"""What `mkdocs build` makes beside the pages of docs/: references, pages from other folders."""
