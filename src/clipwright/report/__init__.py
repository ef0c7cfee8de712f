"""One self-contained page: what was found, how sure it is, what was run."""
